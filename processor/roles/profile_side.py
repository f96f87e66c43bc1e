"""One profile of the provider in a working process: its client, credentials and breaker, and the gate before it."""

from collections.abc import Callable, Collection, Iterator, Mapping

from processor.adapters.access_token import credentials
from processor.adapters.budget import Budget
from processor.adapters.catalogue_file import fault_fingerprint
from processor.adapters.credential import Header
from processor.adapters.dispatcher import Backlog, Dispatcher, Judged
from processor.adapters.fault_watch import FaultWatch
from processor.adapters.gate import Gate, HeldBy
from processor.adapters.http import HttpClient, HttpSettings
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.http_pyreqwest import PyreqwestClient
from processor.adapters.pauses import Pauses, Standing
from processor.adapters.reach import Reach, ReachableProvider
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.proof import Operation
from processor.roles.call_listener import CallListener
from processor.roles.observer import wall_clock
from processor.roles.surroundings import Surroundings
from processor.settings import ApiSettings, credentials_fingerprint

RETRY_AFTER_TOLD_S = 60.0  # A shorter wait is normal operation.


class ProfileSide:
    """Everything between calls that name this profile and the provider; belongs to the running event loop."""

    def __init__(
        self,
        name: str,
        around: Surroundings,
        listener: CallListener,
        *,
        bytes_max: int,
        publish: Callable[[Standing], None],
    ) -> None:
        """`name` is configured; calls and answers may hold `bytes_max`, and `publish` tells everyone of a pause."""
        api = around.settings.profiles()[name]
        catalogue = around.catalogue
        self.name = name
        self.is_used = bool(catalogue.serving(name))
        self._api = api
        self._listener = listener
        self._budget: Budget | None = None
        self.reach = Reach(
            _client(api),
            api.base_url,
            probe_deadline_s=api.call_deadline_s,
            authorization=self._header,
            tell=self._told,
        )
        self._token_client: HttpClient = HttpxClient(_http(api))
        self._credentials = credentials(api, self._token_client, listener.token)
        calls = WorkflowsApi(catalogue, api, self.reach, self._credentials, clock=wall_clock, tell=listener.request)
        who = credentials_fingerprint(api)
        watch: FaultWatch[Judged] = FaultWatch(refusals_max=api.refusals_in_row_max)
        self.dispatcher = Dispatcher(
            ReachableProvider(calls, self.reach),
            Gate(slots_max=api.calls_in_flight_max, bytes_max=bytes_max, per_second_max=api.calls_per_second_max),
            Pauses({name: fault_fingerprint(workflow, who) for name, workflow in catalogue.workflows.items()}),
            watch,
            listener=listener,
            publish=publish,
            clock=wall_clock,
            result_bytes_max=api.response_bytes_max,
        )
        self.dispatcher.resize(0)  # Until partitions are ours.

    def start(self) -> None:
        """Begin to obtain tokens."""
        self._credentials.start()

    def count(self, partitions: Mapping[str, int]) -> None:
        """Take in how many partitions each decider here has in the whole deployment."""
        self._budget = Budget(self._api.calls_in_flight_max, partitions)

    def share(self, owned: Mapping[str, Collection[int]]) -> None:
        """Use the part of the profile's limit that the partitions owned here carry."""
        if self._budget is not None:
            self.dispatcher.resize(self._budget.slots(owned))

    def unready(self, backlog: Backlog) -> Iterator[str]:
        """Name what holds calls back and is no normal operation; of a profile that nobody needs, nothing."""
        if not (self.is_used or any(backlog.waiting.values())):
            return
        if HeldBy.TOKEN in backlog.held_by:
            yield f"provider {self.name}, {HeldBy.TOKEN}: {self._credentials.why_not()}"
        if HeldBy.BREAKER in backlog.held_by:
            yield f"provider {self.name}, {HeldBy.BREAKER}: it is away, {self.reach.why_away}"
        if backlog.retry_after_s > RETRY_AFTER_TOLD_S:
            yield f"provider {self.name}, {HeldBy.RETRY_AFTER}: it asks to wait for {backlog.retry_after_s:.0f} s more"

    async def close(self) -> None:
        """Close, after the dispatcher."""
        await self._credentials.close()
        await self._token_client.close()
        await self.reach.close()  # Last: see its adapter.

    def _header(self) -> Header | None:
        return self._credentials.of(Operation.READ_STATUS).header

    def _told(self, why_away: str | None) -> None:
        self._listener.reach(why_away)
        if why_away is None:
            self.dispatcher.ramp()


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
