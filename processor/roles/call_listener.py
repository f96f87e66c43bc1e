"""What becomes of calls, tokens and pauses of one profile of the provider, as log lines and metrics."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from processor.adapters.access_token import TokenOutcome
from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.core.catalogue import Catalogue
from processor.core.messages import StatusRead
from processor.core.proof import Operation, Proof
from processor.settings import profile_prefix
from processor.telemetry import Metrics

log = structlog.stdlib.get_logger()

UNLISTED_MAX = 100  # Each is told once.
THROTTLED_TOLD_S = 60.0  # Not more often: a provider may ask every few seconds, all night.
_LOUD = frozenset({Proof.REFUSED, Proof.OUR_FAULT, Proof.UNKNOWN})


@dataclass(slots=True)
class Told:
    """What all profiles of a process have told already."""

    unlisted: set[tuple[str, str]] = field(default_factory=set)
    pausing: dict[str, set[str]] = field(default_factory=dict)  # Workflow -> profiles in which it is held.


class CallListener:
    """Serves `adapters.calling.CallListener` for one profile."""

    def __init__(
        self,
        provider: str,
        metrics: Metrics,
        catalogue: Catalogue,
        told: Told,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._provider = provider
        self._clock = clock
        self._throttled_told_s = float("-inf")
        self._throttled_untold = 0
        self._calls = metrics.calls
        self._requests = metrics.requests
        self._catalogue = catalogue
        self._told = told
        self._proofs = {
            (operation, proof): metrics.calls.calls.labels(operation, proof)
            for operation in Operation
            for proof in Proof
        }

    def answered(self, call: ApiCall, fact: ApiFact, seconds: float) -> None:
        """A call ended."""
        operation = operation_of(call)
        self._proofs[operation, fact.proof].inc()
        if isinstance(fact, StatusRead) and fact.status is not None and call.workflow is not None:
            self._check_status(call.workflow, fact.status)
        if fact.proof in _LOUD:
            log.warning(
                "call.failed",
                provider=self._provider,
                operation=operation,
                proof=fact.proof,
                workflow=call.workflow,
                request_id=getattr(call, "request_id", None),
                workflow_id=getattr(call, "workflow_id", None),
                attempt=call.attempt,
                why=fact.why,
                seconds=round(seconds, 3),
            )

    def _check_status(self, name: str, status: str) -> None:
        """Raise the alarm for a status that no list of the catalogue knows: it might be an end."""
        workflow = self._catalogue.find(name)
        if workflow is None or status.upper() in workflow.success | workflow.failure | workflow.running:
            return
        self._requests.unlisted_statuses.labels(name).inc()
        unlisted = self._told.unlisted
        if (name, status) not in unlisted and len(unlisted) < UNLISTED_MAX:
            unlisted.add((name, status))
            log.error("status.unlisted", workflow=name, status=status)

    def request(self, operation: Operation, status: str, seconds: float) -> None:
        """One HTTP request ended; a call may need two, when its token had to be renewed."""
        self._calls.seconds.labels(operation, status).observe(seconds)

    def throttled(self, seconds: float) -> None:
        """The provider asks us to wait; told once a minute at most, with how many times it was not told before."""
        now_s = self._clock()
        if now_s - self._throttled_told_s < THROTTLED_TOLD_S:
            self._throttled_untold += 1
            return
        setting = f"{profile_prefix(self._provider)}CALLS_PER_SECOND_MAX"
        log.warning(
            "provider.throttled",
            provider=self._provider,
            seconds=round(seconds, 1),
            suppressed=self._throttled_untold,
            why=f"if this comes often, set {setting} to what the provider allows",
        )
        self._throttled_told_s, self._throttled_untold = now_s, 0

    def paused(self, workflow: str, reason: str, why: str) -> None:
        """A workflow is held here now; told once, though it be held in several profiles."""
        holding = self._told.pausing.setdefault(workflow, set())
        if not holding:
            self._calls.paused.labels(workflow).set(1)
            log.error("workflow.paused", workflow=workflow, reason=reason, why=why)
        holding.add(self._provider)

    def resumed(self, workflow: str) -> None:
        """A workflow that was held here goes on."""
        holding = self._told.pausing.get(workflow, set())
        holding.discard(self._provider)
        if not holding:
            self._calls.paused.labels(workflow).set(0)
            log.info("workflow.resumed", workflow=workflow)

    def reach(self, why_away: str | None) -> None:
        """The provider cannot be reached, or is back."""
        if why_away is None:
            log.info("provider.reachable", provider=self._provider)
        else:
            log.error("provider.unreachable", provider=self._provider, why=why_away)

    def token(self, outcome: TokenOutcome, why: str) -> None:
        """An access token was asked for."""
        self._calls.tokens.labels(outcome).inc()
        if outcome is TokenOutcome.RENEWED:
            log.info("token.renewed", provider=self._provider)
        else:
            log.error("token.refused", provider=self._provider, reason=outcome, why=why)
