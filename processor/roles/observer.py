"""What a decider's engine tells, as log lines and metrics."""

from collections.abc import Callable, Sequence

import structlog

from processor.core.messages import Finished, LinkIssued, Observed, Output, Prepared, Progressed, Started, Step
from processor.core.model import Witness
from processor.engine.ports import InputRecord
from processor.roles.clock import wall_clock
from processor.telemetry import EngineMetrics, Metrics

log = structlog.stdlib.get_logger()

_SHOWN = frozenset({Witness.WEBHOOK, Witness.POLL})  # What no answer told.
_OUTCOMES = ("committed", "aborted", "unknown")  # Each is there from the start: a rate sees no step out of nothing.


class _Standing:
    """Which partitions here are being restored, with what is left to read, and which have stopped; told by gauges."""

    def __init__(self, decider: str, engine: EngineMetrics) -> None:
        self._remaining: dict[int, int] = {}
        self._stopped: set[int] = set()
        self._restoring_gauge = engine.restoring.labels(decider)
        self._remaining_gauge = engine.restore_remaining.labels(decider)
        self._stopped_gauge = engine.stopped.labels(decider)

    def restores(self, partitions: Sequence[int], remaining: int = 0) -> None:
        """These are being restored."""
        self._stopped.difference_update(partitions)
        self._remaining |= dict.fromkeys(partitions, remaining)
        self._show()

    def is_over(self, partitions: Sequence[int], *, is_stopped: bool = False) -> None:
        """The restore of these has ended, well or with a stop, or they are not ours any more."""
        self._stopped.difference_update(partitions)
        self._stopped.update(partitions if is_stopped else ())
        for partition in partitions:
            self._remaining.pop(partition, None)
        self._show()

    def _show(self) -> None:
        self._restoring_gauge.set(len(self._remaining))
        self._remaining_gauge.set(sum(self._remaining.values()))
        self._stopped_gauge.set(len(self._stopped))


class EngineObserver:
    """Serves `engine.ports.Observer` for one decider."""

    def __init__(self, decider: str, metrics: Metrics, clock: Callable[[], int] = wall_clock) -> None:
        self._decider = decider
        self._engine = metrics.engine
        self._requests = metrics.requests
        self._clock = clock
        self._log = log.bind(decider=decider)
        self._committed, *_ = (self._engine.transactions.labels(decider, outcome) for outcome in _OUTCOMES)
        self._facts = self._engine.facts.labels(decider)
        self._records = self._engine.records.labels(decider)
        self._seconds = self._engine.transaction_seconds.labels(decider)
        self._standing = _Standing(decider, metrics.engine)

    def assigned(self, partitions: Sequence[int]) -> None:
        """Partitions came."""
        if partitions:
            self._log.info("partition.assigned", partitions=list(partitions))
            self._engine.partitions.labels(self._decider).inc(len(partitions))
            self._engine.rebalances.labels(self._decider, "assigned").inc(len(partitions))
            self._standing.restores(partitions)

    def revoked(self, partitions: Sequence[int], drained_s: float, *, calls_left: int) -> None:
        """Partitions were handed over."""
        self._log.info("partition.revoked", partitions=list(partitions), seconds=drained_s, calls_open=calls_left)
        self._engine.partitions.labels(self._decider).dec(len(partitions))
        self._engine.rebalances.labels(self._decider, "revoked").inc(len(partitions))
        self._engine.drain_seconds.labels(self._decider).observe(drained_s)
        self._standing.is_over(partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        """Partitions were taken away."""
        self._log.warning("partition.lost", partitions=list(partitions))
        self._engine.partitions.labels(self._decider).dec(len(partitions))
        self._engine.rebalances.labels(self._decider, "lost").inc(len(partitions))
        self._standing.is_over(partitions)

    def restoring(self, partition: int, records: int, remaining: int) -> None:
        """A restore goes on."""
        self._log.info("partition.restoring", partition=partition, records=records, remaining=remaining)
        self._standing.restores([partition], remaining)

    def restored(self, partition: int, records: int, seconds: float) -> None:
        """A partition is ready."""
        self._log.info("partition.restored", partition=partition, records=records, seconds=seconds)
        self._engine.restored_records.labels(self._decider).inc(records)
        self._engine.restore_seconds.labels(self._decider).observe(seconds)
        self._standing.is_over([partition])

    def committed(self, facts: int, records: int, seconds: float) -> None:
        """A transaction was committed."""
        self._committed.inc()
        self._facts.inc(facts)
        self._records.inc(records)
        self._seconds.observe(seconds)

    def happened(self, outputs: Sequence[Output]) -> None:
        """These messages were committed."""
        for output in outputs:
            match output:
                case Finished():
                    self._finished(output)
                case Progressed():
                    self._progressed(output)
                case Prepared():
                    self._log.debug("request.prepared", request_id=output.origin.request_id)
                case Observed():
                    self._log.info("workflow.observed", workflow_id=output.workflow_id, status=output.status)
                case Started():
                    if output.told_by in _SHOWN:
                        self._adopted(output)
                case LinkIssued():
                    self._issued(output)

    def _finished(self, output: Finished) -> None:
        origin, witness = output.origin, output.completed_by or "NONE"
        facts = {
            "request_id": origin.request_id,
            "workflow": origin.workflow,
            "workflow_id": output.workflow_id,
            "outcome": output.outcome,
            "completed_by": witness,
            "reason": output.reason,
            "attempts": output.attempts,
        }
        if output.revision > 1:
            self._log.info("result.amended", **facts)
            self._requests.amendments.labels(origin.workflow, output.outcome).inc()
            return
        self._log.info("result.published", **facts)
        self._requests.results.labels(origin.workflow, output.outcome, witness).inc()
        age_s = max(0, self._clock() - origin.requested_at) / 1000
        self._requests.age.labels(origin.workflow, output.outcome).observe(age_s)

    def _progressed(self, output: Progressed) -> None:
        origin = output.origin
        match output.step:
            case Step.ACCEPTED:
                self._requests.accepted.labels(origin.workflow).inc()
                self._log.debug("request.accepted", request_id=origin.request_id, workflow=origin.workflow)
            case Step.STARTED:
                self._log.info(
                    "workflow.started",
                    request_id=origin.request_id,
                    workflow=origin.workflow,
                    workflow_id=output.workflow_id,
                    attempt=output.attempt,
                )
            case Step.HELD:
                self._requests.held.labels(origin.workflow).inc()
                self._log.warning(
                    "workflow.held", request_id=origin.request_id, workflow=origin.workflow, attempt=output.attempt
                )
            case Step.LINK_REFUSED:
                self._requests.links.labels(origin.workflow, "refused").inc()
                self._log.warning(
                    "link.refused", request_id=origin.request_id, workflow=origin.workflow, attempt=output.attempt
                )

    def _issued(self, output: LinkIssued) -> None:
        """Tell of a link without what it is: it is a secret."""
        origin = output.origin
        self._requests.links.labels(origin.workflow, "issued").inc()
        self._log.info(
            "link.issued", request_id=origin.request_id, workflow=origin.workflow, attempt=output.link_attempt
        )

    def _adopted(self, output: Started) -> None:
        self._requests.adopted.labels(output.origin.workflow).inc()
        self._log.info("workflow.adopted", request_id=output.origin.request_id, workflow_id=output.workflow_id)

    def aborted(self, tries: int) -> None:
        """A transaction was aborted; its facts are decided again."""
        self._log.warning("transaction.aborted", tries=tries)
        self._engine.transactions.labels(self._decider, "aborted").inc()

    def unknown_commit(self, *, committed: int, aborted: int, dropped: int) -> None:
        """A commit of unknown outcome was decided by token, so many partitions each way."""
        self._log.warning("transaction.unknown", committed=committed, aborted=aborted, dropped=dropped)
        self._engine.transactions.labels(self._decider, "unknown").inc()
        verdicts = {"committed": committed, "aborted": aborted, "dropped": dropped}
        for verdict, count in verdicts.items():
            self._engine.unknown_partitions.labels(self._decider, verdict).inc(count)

    def poisoned(self, record: InputRecord, reason: str) -> None:
        """An input record went to the dead letters."""
        self._log.warning(
            "record.dead_lettered",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
        )
        self._requests.dead_letters.labels(record.topic, reason).inc()

    def redelivered(self, partition: int, count: int) -> None:
        """Records below the state's position were skipped."""
        self._log.debug("partition.redelivered", partition=partition, count=count)
        self._engine.redelivered.labels(self._decider).inc(count)

    def parked(self, partition: int, fact: str, error: str) -> None:
        """A key was parked: its rule failed on this kind of fact, with this class of error."""
        self._log.error("key.parked", partition=partition, fact=fact, error_type=error)
        self._engine.parked.labels(self._decider).inc()

    def stopped(self, partition: int, why: str) -> None:
        """A partition stopped and needs a person or another build."""
        self._log.error("partition.stopped", partition=partition, why=why)
        self._standing.is_over([partition], is_stopped=True)

    def stuck(self, partition: int) -> None:
        """A partition delivered nothing although there was something to read; it was placed anew."""
        self._log.error("partition.stuck", partition=partition)
        self._engine.watchdog.labels(self._decider).inc()

    def purge_refused(self, partition: int) -> None:
        """The broker does not let us delete decided input."""
        self._log.warning("input.purge_refused", partition=partition)
        self._engine.purges.labels(self._decider, "refused").inc()

    def waiting_for(self, dependency: str) -> None:
        """Reading waits because something outside is not there."""
        if dependency == "RegistryUnavailable":
            self._log.warning("registry.unavailable", error_type=dependency)
        else:
            self._log.warning("broker.unavailable", error_type=dependency)

    def evidence(self, published: int) -> None:
        """Answers of partitions that are gone were published as evidence."""
        self._log.warning("evidence.published", count=published)
        self._engine.evidence.labels(self._decider).inc(published)
