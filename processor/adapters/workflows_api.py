"""The provider's calls: one request for each, its answer as a fact, and a new token once when the old one is refused.

A call is never repeated for any other reason, for what is not answered may have been executed.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from processor.adapters.api_facts import Answer, Facts, fact_of
from processor.adapters.api_requests import Requests, Unsendable
from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.adapters.credential import Credential, Credentials, Header
from processor.adapters.http import HttpAnswer, HttpClient, HttpRequest
from processor.core.catalogue import Catalogue
from processor.core.messages import StartWorkflow
from processor.core.model import Instant
from processor.core.proof import Ending, Operation
from processor.settings import ApiSettings

UNAUTHORIZED: Final = 401
# Told of each request's end: the operation, the HTTP status or why there is none, and how long it took.
AnswerListener: TypeAlias = Callable[[Operation, str, float], None]


class WorkflowsApi:
    """The `Api` of one provider profile, on one event loop; `clock` gives the wall clock."""

    def __init__(  # noqa: PLR0913 - what to send, how, as whom, and who is told
        self,
        catalogue: Catalogue,
        api: ApiSettings,
        client: HttpClient,
        credentials: Credentials,
        *,
        clock: Callable[[], Instant],
        tell: AnswerListener,
    ) -> None:
        self._requests = Requests(catalogue, api)
        self._facts = Facts(catalogue, api, clock=clock)
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._tell = tell
        self._call_deadline_s = api.call_deadline_s
        self._run_deadline_s = api.run_deadline_s

    def is_ready(self) -> bool:
        """Whether a call made now would find a token; may be asked on any thread."""
        return self._credentials.is_ready()

    async def ready(self) -> None:
        """Wait until there is a token."""
        await self._credentials.ready()

    async def perform(self, call: ApiCall) -> ApiFact:
        """Make one call and say what it proved; raises nothing but `CancelledError`."""
        credential = self._credentials.of(operation_of(call))
        authorization = credential.header
        if authorization is None:
            return fact_of(call, Ending.NOT_SENT, "no access token")
        request = self._request(call, authorization, self._deadline_s(call))
        if isinstance(request, Unsendable):
            return fact_of(call, request.ending, request.why)
        started_s = time.monotonic()
        answer: Answer | Unsendable = await self._client.send(request)
        if isinstance(answer, HttpAnswer) and answer.status == UNAUTHORIZED:
            left_s = request.deadline_s - (time.monotonic() - started_s)
            answer = await self._repeated(call, credential, authorization, answer, left_s)
        self._tell(operation_of(call), _label(answer), time.monotonic() - started_s)
        if isinstance(answer, Unsendable):
            return fact_of(call, answer.ending, answer.why)
        try:
            return self._facts.read(call, answer)
        except Exception as error:  # noqa: BLE001 - the call was sent, so its caller must hear of it
            return fact_of(call, Ending.LOST, f"unreadable answer, {type(error).__name__}")

    def _deadline_s(self, call: ApiCall) -> float:
        """Return how long a call may take, in seconds; none are left for a run that is too late to begin."""
        if not isinstance(call, StartWorkflow):
            return self._call_deadline_s
        now = self._clock()
        return 0.0 if now >= call.send_before else min(self._run_deadline_s, (call.deadline_at - now) / 1000)

    def _request(self, call: ApiCall, authorization: Header, deadline_s: float) -> HttpRequest | Unsendable:
        if deadline_s <= 0:
            return Unsendable(Ending.NOT_SENT, "not sent before its time")
        try:
            return self._requests.build(call, authorization, deadline_s)
        except Exception as error:  # noqa: BLE001 - nothing was sent, whatever went wrong
            return Unsendable(Ending.NOT_SENT, f"no request can be made of it, {type(error).__name__}")

    async def _repeated(
        self, call: ApiCall, credential: Credential, refused: Header, answer: HttpAnswer, left_s: float
    ) -> Answer | Unsendable:
        """Repeat a call once with a new token: a 401 comes before any execution.

        The old answer stands when no other token can be had; while there is none for now, the call can come again.
        """
        renewing_s = time.monotonic()
        try:
            async with asyncio.timeout(max(left_s, 0.0)):
                authorization = await credential.renew(refused)
        except TimeoutError:
            authorization = None
        if authorization == refused:
            return answer
        if authorization is None:
            return Unsendable(Ending.NO_TOKEN, "HTTP 401, no new access token now")
        request = self._request(call, authorization, left_s - (time.monotonic() - renewing_s))
        return (
            Unsendable(Ending.NO_TOKEN, request.why)
            if isinstance(request, Unsendable)
            else await self._client.send(request)
        )


def _label(answer: Answer | Unsendable) -> str:
    if isinstance(answer, HttpAnswer):
        return str(answer.status)
    return str(UNAUTHORIZED) if isinstance(answer, Unsendable) else answer.reason.value
