"""Executed workflows: each is in the ledger before anybody hears of it, then goes to its end and tells of it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from processor.simulator import draws
from processor.simulator.draws import Plan
from processor.simulator.ledger import CHANGES, Ledger
from processor.simulator.model import Answered, Asked, Execution, Origin, Refused, Run, WebhookKind
from processor.simulator.scene import Scene
from processor.simulator.webhooks import WebhookShape


class Runs:
    """Executes, ends and finds runs; calls `send` with the body of each webhook when it is due."""

    def __init__(self, scene: Scene, ledger: Ledger, send: Callable[[bytes], None]) -> None:
        self._scene = scene
        self._ledger = ledger
        self._send = send
        self._shape = WebhookShape(scene.settings.webhook_shape.names, scene.settings.webhook_kinds.names)
        self._last_of_case: dict[str, Run] = {}

    def execute(
        self,
        asked: Asked,
        answered: Answered,
        now: int,
        execution: Execution | None = None,
        origin: Origin = Origin.API,
    ) -> Run:
        """Begin a run and write it down; one with an end user of version 3 then waits until it is walked."""
        scene = self._scene
        is_waiting = execution is not None and execution.has_user
        expires_at = None if execution is None else execution.expires_at
        plan = draws.plan(scene.source, scene.faults, has_user=is_waiting or origin is Origin.LINK)
        if expires_at is not None and not is_waiting and now + plan.completion_ms > expires_at:
            plan = draws.expiry(scene.source, scene.faults, expires_at - now)
        run = Run(
            seq=self._ledger.seq + 1,
            workflow_id=draws.new_id(scene.source),
            asked=asked,
            origin=origin,
            execution=execution,
            executed_at=now,
            ends_at=None if is_waiting else now + plan.completion_ms,
            final_status=scene.faults.expired_status if is_waiting else plan.final_status,
            decision=None if is_waiting else plan.decision,
            answered=answered,
            status=scene.faults.running_status,
        )
        self._ledger.executed(run)
        self._remember(run)
        scene.counters.executed += 1
        if not is_waiting:
            self._go(run, plan, now)
        elif expires_at is not None:
            scene.schedule.at(expires_at, partial(self._expire, run))
        return run

    def walk(self, run: Run, now: int) -> None:
        """Let the end user of a waiting run do their part."""
        plan = draws.plan(self._scene.source, self._scene.faults, has_user=True)
        run.ends_at, run.final_status, run.decision = now + plan.completion_ms, plan.final_status, plan.decision
        self._ledger.walked(run)
        self._go(run, plan, now)

    def known(self, workflow_id: str) -> Run:
        """Return a run that is still kept; 404 otherwise."""
        run = self._ledger.run(workflow_id.lower())
        if run is None:
            raise Refused(404, "NOT_FOUND", "no such workflow")
        return run

    def last_of_case(self, case_id: str) -> Run | None:
        """Return the run of a case that was executed last."""
        return self._last_of_case.get(case_id.lower())

    def restore(self, kind: str, line: Mapping[str, Any], asked: Callable[[Mapping[str, Any]], Asked]) -> bool:
        """Take up a line of the ledger file; False when it tells of something else."""
        if kind == "run":
            run = _run_in(line, asked(line))
            self._ledger.keep(run)
            self._remember(run)
            return True
        known = self._ledger.run(line.get("workflowId", ""))
        if known is None or kind not in CHANGES:
            return False
        known.status = line.get("status", known.status)
        known.finished_at = line.get("finishedAt", known.finished_at)
        known.answered = Answered(line.get("answered", known.answered))
        known.ends_at = line.get("endsAt", known.ends_at)
        known.final_status = line.get("finalStatus", known.final_status)
        known.decision = line.get("decision", known.decision)
        return True

    def resume(self) -> None:
        """Let what an earlier process left unfinished end, with one webhook each."""
        for run in self._ledger.runs:
            if run.finished_at is not None:
                continue
            if run.ends_at is not None:
                plan = Plan(0, run.final_status, run.decision, webhook_delays_ms=(0,))
                self._scene.schedule.at(run.ends_at, partial(self._finish, run, plan))
            elif run.execution is not None and run.execution.expires_at is not None:
                self._scene.schedule.at(run.execution.expires_at, partial(self._expire, run))

    def _remember(self, run: Run) -> None:
        """Hold the last run of its case; the oldest goes when there are too many."""
        if run.case_id is None:
            return
        self._last_of_case.pop(run.case_id.lower(), None)
        self._last_of_case[run.case_id.lower()] = run
        if len(self._last_of_case) > self._scene.settings.runs_max:
            del self._last_of_case[next(iter(self._last_of_case))]

    def _go(self, run: Run, plan: Plan, now: int) -> None:
        """Plan the rest of a run."""
        if plan.completion_ms == 0:
            self._finish(run, plan, now)
            return
        if plan.hint_delays_ms is not None:
            self._scene.schedule.at(
                now + plan.completion_ms // 2, partial(self._tell_halfway, run, plan.hint_delays_ms)
            )
        self._scene.schedule.at(now + plan.completion_ms, partial(self._finish, run, plan))

    def _expire(self, run: Run, now: int) -> None:
        """End a run that nobody walked."""
        if run.ends_at is None:
            run.ends_at = now
            self._finish(run, draws.expiry(self._scene.source, self._scene.faults, 0), now)

    def _tell_halfway(self, run: Run, delays_ms: tuple[int, ...], now: int) -> None:
        """Say that the user is done, or how a run without a user stands."""
        has_user = run.origin is Origin.LINK or (run.execution is not None and run.execution.has_user)
        kind = WebhookKind.AWAITING if has_user else WebhookKind.STATUS_UPDATE
        if has_user:
            run.status = self._scene.faults.awaiting_status
            self._ledger.awaiting(run)
        self._scene.counters.webhooks[kind.value] += 1
        self._announce(run, kind, delays_ms, now)

    def _finish(self, run: Run, plan: Plan, now: int) -> None:
        """End a run and send its webhooks, or lose them."""
        run.finished_at = now
        run.status = run.final_status = plan.final_status
        self._ledger.finished(run)
        self._scene.counters.finished += 1
        self._scene.counters.webhooks[("lost", "single", "doubled")[len(plan.webhook_delays_ms)]] += 1
        self._announce(run, WebhookKind.COMPLETED, plan.webhook_delays_ms, now)

    def _announce(self, run: Run, kind: WebhookKind, delays_ms: tuple[int, ...], now: int) -> None:
        """Send what is true now, each time after its delay."""
        body = self._shape.body(run, kind)
        for delay_ms in delays_ms:
            self._scene.schedule.at(now + delay_ms, lambda _now: self._send(body))


def _run_in(line: Mapping[str, Any], asked: Asked) -> Run:
    """Read a run back from its line in the ledger file."""
    given = line["execution"]
    execution = given and Execution(given["locale"], given["expires"], given["expiresAt"], given["hasUser"])
    return Run(
        seq=line["seq"],
        workflow_id=line["workflowId"],
        asked=asked,
        origin=Origin(line["origin"]),
        execution=execution,
        executed_at=line["executedAt"],
        ends_at=line["endsAt"],
        final_status=line["finalStatus"],
        decision=line["decision"],
        answered=Answered(line["answered"]),
        status=line["status"],
        finished_at=line["finishedAt"],
    )
