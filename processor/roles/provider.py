"""The provider's side of a working process: its API, the gate before it, and the pauses that everyone follows."""

import asyncio

import structlog

from processor.adapters.access_token import TokenOutcome, credential
from processor.adapters.acked_producer import AckedProducer
from processor.adapters.caller import ApiCaller
from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.adapters.catalogue_file import fault_fingerprint
from processor.adapters.control_topic import ControlTopic
from processor.adapters.dispatcher import Backlog, Dispatcher, Judged
from processor.adapters.fault_watch import FaultWatch
from processor.adapters.gate import Gate, Priority
from processor.adapters.http import HttpClient, HttpSettings
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.http_pyreqwest import PyreqwestClient
from processor.adapters.pauses import Pauses
from processor.adapters.reach import Reach, ReachableProvider
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.catalogue import Catalogue
from processor.core.messages import StatusRead
from processor.core.proof import Operation, Proof
from processor.kafka_config import reader_config
from processor.roles.observer import wall_clock
from processor.roles.surroundings import Surroundings
from processor.settings import ApiSettings, credentials_fingerprint
from processor.telemetry import Metrics

log = structlog.stdlib.get_logger()

CLOSE_S = 5.0
UNLISTED_MAX = 100  # Each is told once.
PRIORITIES = {
    "preparation": Priority.PREPARATION,
    "launch": Priority.LAUNCH,
    "completion": Priority.COMPLETION,
}
_LOUD = frozenset({Proof.REFUSED, Proof.OUR_FAULT, Proof.UNKNOWN})


class ProviderSide:
    """Everything between the deciders' calls and the provider; belongs to the running event loop."""

    def __init__(self, around: Surroundings, producer: AckedProducer) -> None:
        settings, catalogue = around.settings, around.catalogue
        api, engine = settings.api, settings.engine
        listener = _Listener(around.metrics, catalogue)
        self._settings = settings
        self._callers: list[ApiCaller] = []
        self._client = Reach(_client(api), api.base_url, probe_deadline_s=api.call_deadline_s, tell=listener.reach)
        self._token_client: HttpClient = HttpxClient(_http(api))
        self._credential = credential(api, self._token_client, listener.token)
        calls = WorkflowsApi(catalogue, api, self._client, self._credential, clock=wall_clock, tell=listener.request)
        who = credentials_fingerprint(api)
        prints = {name: fault_fingerprint(workflow, who) for name, workflow in catalogue.workflows.items()}
        watch: FaultWatch[Judged] = FaultWatch(refusals_max=api.refusals_in_row_max)
        self.dispatcher = Dispatcher(
            ReachableProvider(calls, self._client),
            Gate(
                slots_max=api.calls_in_flight_max,
                bytes_max=engine.calls_bytes_max,
                per_second_max=api.calls_per_second_max,
            ),
            Pauses(prints),
            watch,
            listener=listener,
            publish=lambda standing: self._control.publish(standing),  # noqa: PLW0108  # made below
            clock=wall_clock,
        )
        self._control = ControlTopic(
            settings.topics.control,
            reader_config(settings, "control"),
            producer,
            heard=self.dispatcher.heard,
            on_read=self.dispatcher.open,
            alarm=lambda why: log.warning("broker.unavailable", topic=settings.topics.control, reason=why),
        )

    def caller(self, decider: str) -> ApiCaller:
        """Return the caller of one decider."""
        caller = ApiCaller(
            self.dispatcher,
            PRIORITIES[decider],
            permit_ms=round(self._settings.engine.send_window_s * 1000),
            result_bytes_max=self._settings.api.response_bytes_max,
        )
        self._callers.append(caller)
        return caller

    def start(self) -> None:
        """Obtain a token, read which workflows are paused; calls start when both are there."""
        self._credential.start()
        self._control.start()

    def backlog(self) -> Backlog:
        """Return what waits and what holds it back right now."""
        return self.dispatcher.backlog()

    def why_no_token(self) -> str | None:
        """Say why no call can be made, None when one can."""
        return self._credential.why_not()

    async def close(self) -> None:
        """End what is open and close; every decider has left before."""
        for caller in self._callers:
            caller.close()
        await self.dispatcher.close(CLOSE_S)
        await asyncio.to_thread(self._control.close)
        await self._credential.close()
        await self._token_client.close()
        await self._client.close()  # Last: see its adapter.


class _Listener:
    """Calls, pauses and tokens as log lines and metrics."""

    def __init__(self, metrics: Metrics, catalogue: Catalogue) -> None:
        self._calls = metrics.calls
        self._requests = metrics.requests
        self._catalogue = catalogue
        self._unlisted: set[tuple[str, str]] = set()
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
        if (name, status) not in self._unlisted and len(self._unlisted) < UNLISTED_MAX:
            self._unlisted.add((name, status))
            log.error("status.unlisted", workflow=name, status=status)

    def request(self, operation: Operation, status: str, seconds: float) -> None:
        """One HTTP request ended; a call may need two, when its token had to be renewed."""
        self._calls.seconds.labels(operation, status).observe(seconds)

    def paused(self, workflow: str, reason: str, why: str) -> None:
        """A workflow is held now."""
        self._calls.paused.labels(workflow).set(1)
        log.error("workflow.paused", workflow=workflow, reason=reason, why=why)

    def resumed(self, workflow: str) -> None:
        """A workflow that was held goes on."""
        self._calls.paused.labels(workflow).set(0)
        log.info("workflow.resumed", workflow=workflow)

    def reach(self, why_away: str | None) -> None:
        """The provider cannot be reached, or is back."""
        self._calls.unreachable.set(0 if why_away is None else 1)
        if why_away is None:
            log.info("provider.reachable")
        else:
            log.error("provider.unreachable", why=why_away)

    def token(self, outcome: TokenOutcome, why: str) -> None:
        """An access token was asked for."""
        self._calls.tokens.labels(outcome).inc()
        if outcome is TokenOutcome.RENEWED:
            log.info("token.renewed")
        else:
            log.error("token.refused", reason=outcome, why=why)


def _http(api: ApiSettings) -> HttpSettings:
    return HttpSettings(
        connect_timeout_s=api.connect_timeout_s,
        keep_alive_s=api.keepalive_s,
        connections_max=api.calls_in_flight_max,
        body_bytes_max=api.response_bytes_max,
        ca_file=None if api.ca_file is None else str(api.ca_file),
    )


def _client(api: ApiSettings) -> HttpClient:
    return HttpxClient(_http(api)) if api.http_client == "httpx" else PyreqwestClient(_http(api))
