"""One profile of the provider in a working process: its client, credentials and breaker, and the gate before it."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from processor.adapters.access_token import TokenOutcome, credentials
from processor.adapters.budget import Budget
from processor.adapters.catalogue_file import fault_fingerprint
from processor.adapters.credential import Credentials
from processor.adapters.dispatcher import Backlog, Dispatcher, Judged
from processor.adapters.fault_watch import FaultWatch
from processor.adapters.gate import Gate, HeldBy
from processor.adapters.http import HttpClient
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.pauses import Pauses, Standing
from processor.adapters.reach import Contact, Reach, ReachableProvider
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.proof import Operation
from processor.roles.call_listener import CallListener
from processor.roles.clock import wall_clock
from processor.roles.profile_http import call_client, http_settings, setting_at_fault
from processor.roles.retirement import Retirement
from processor.roles.surroundings import Surroundings
from processor.settings import ApiSettings, credentials_fingerprint, profile_prefix

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
        self.name = name
        self.is_used = bool(around.catalogue.serving(name))
        self._catalogue = around.catalogue
        self._listener = listener
        self._budget: Budget | None = None
        self._slots_max = api.calls_in_flight_max
        self._retirement = Retirement()
        self._had_contact = name in around.contacts
        self._link = self._connect(api)
        watch: FaultWatch[Judged] = FaultWatch(refusals_max=api.refusals_in_row_max)
        self.dispatcher = Dispatcher(
            self._link.provider,
            Gate(slots_max=api.calls_in_flight_max, bytes_max=bytes_max, per_second_max=api.calls_per_second_max),
            Pauses(self._fingerprints(api)),
            watch,
            listener=listener,
            publish=publish,
            clock=wall_clock,
            result_bytes_max=api.response_bytes_max,
        )
        self.dispatcher.resize(0)  # Until partitions are ours.

    @property
    def reach(self) -> Reach:
        """Whether the provider is there."""
        return self._link.reach

    @property
    def had_contact(self) -> bool:
        """Whether the provider took a credential or a call of ours, at least once since the process started."""
        return self._had_contact or self.reach.contact is Contact.MADE

    def start(self) -> None:
        """Begin to obtain tokens."""
        self._link.credentials.start()

    async def renewal(self, api: ApiSettings) -> None:
        """Call with these credentials and authorities, once they have a token; until then those of before serve.

        Those that have no token themselves are replaced at once.
        Calls that are open end with what they began with. Cancelled, it leaves everything as it was.
        """
        link = self._connect(api)
        link.credentials.start()
        try:
            if self._link.credentials.is_ready():
                await link.credentials.ready()
        except asyncio.CancelledError:
            await link.close()
            raise
        self._had_contact = self.had_contact
        before, self._link = self._link, link
        self.dispatcher.renew(link.provider, self._fingerprints(api))
        if not before.reach.is_there:
            self._told(link.reach, None)
        self._retirement.take(before, max(api.call_deadline_s, api.run_deadline_s))

    def count(self, partitions: Mapping[str, int]) -> None:
        """Take in how many partitions each decider here has in the whole deployment."""
        self._budget = Budget(self._slots_max, partitions)

    def share(self, owned: Mapping[str, Collection[int]]) -> None:
        """Use the part of the profile's limit that the partitions owned here carry."""
        if self._budget is not None:
            self.dispatcher.resize(self._budget.slots(owned))

    def unready(self, backlog: Backlog) -> Iterator[str]:
        """Name what keeps us from calling a provider that never took us: settings may be wrong."""
        if not self.had_contact:
            yield from self._held_back(backlog)

    def degraded(self, backlog: Backlog) -> Iterator[str]:
        """Name what holds calls back and is no normal operation, though the provider took us before."""
        if self.had_contact:
            yield from self._held_back(backlog)

    async def close(self) -> None:
        """Close, after the dispatcher."""
        await self._retirement.close()
        await self._link.close()

    def _held_back(self, backlog: Backlog) -> Iterator[str]:
        """Name it; of a profile that nobody needs, nothing."""
        if not (self.is_used or any(backlog.waiting.values())):
            return
        if HeldBy.TOKEN in backlog.held_by:
            yield f"provider {self.name}, {HeldBy.TOKEN}: {self._named(self._link.credentials.why_not())}"
        elif self.reach.contact is Contact.REFUSED and not self.had_contact:  # One that is sent as it is.
            yield f"provider {self.name}, {HeldBy.TOKEN}: HTTP 401, it was never accepted"
        if HeldBy.BREAKER in backlog.held_by:
            yield f"provider {self.name}, {HeldBy.BREAKER}: it is away, {self._named(self.reach.why_away)}"
        if backlog.retry_after_s > RETRY_AFTER_TOLD_S:
            yield f"provider {self.name}, {HeldBy.RETRY_AFTER}: it asks to wait for {backlog.retry_after_s:.0f} s more"

    def _connect(self, api: ApiSettings) -> "_Link":
        """Make what calls with these credentials and authorities; nothing is called yet."""
        token_client = HttpxClient(http_settings(api))
        who = credentials(api, token_client, lambda outcome, why: self._token_told(who, outcome, why))
        reach = Reach(
            call_client(api),
            api.base_url,
            probe_deadline_s=api.call_deadline_s,
            authorization=lambda: who.of(Operation.READ_STATUS).header,
            tell=lambda why_away: self._told(reach, why_away),
        )
        calls = WorkflowsApi(self._catalogue, api, reach, who, clock=wall_clock, tell=self._listener.request)
        return _Link(api, reach, token_client, who, ReachableProvider(calls, reach))

    def _named(self, why: str | None) -> str:
        """Return why something does not work, with the setting to look at where one says how we get there."""
        setting = setting_at_fault(self._link.api, why or "")
        return f"{why}, see {profile_prefix(self.name)}{setting}" if setting else str(why)

    def _fingerprints(self, api: ApiSettings) -> Mapping[str, str]:
        who = credentials_fingerprint(api)
        return {name: fault_fingerprint(workflow, who) for name, workflow in self._catalogue.workflows.items()}

    def _token_told(self, who: Credentials, outcome: TokenOutcome, why: str) -> None:
        self._listener.token(outcome, why)
        if who.is_ready():
            self._had_contact = True

    def _told(self, reach: Reach, why_away: str | None) -> None:
        if reach is not self.reach:  # What was replaced may see its last calls fail.
            return
        self._listener.reach(why_away)
        if why_away is None:
            self.dispatcher.ramp()


@dataclass(frozen=True, slots=True)
class _Link:
    """One way to call a profile: its clients, and who we are there."""

    api: ApiSettings
    reach: Reach
    token_client: HttpClient
    credentials: Credentials
    provider: ReachableProvider

    async def close(self) -> None:
        await self.credentials.close()
        await self.token_client.close()
        await self.reach.close()  # Last: see its adapter.
