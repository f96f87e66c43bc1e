"""One real run at the provider, made as the roles make it: the same deciders, the same calls, and no Kafka.

Every call is made once. What is refused, not answered or unclear ends the probe: nothing is repeated.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from processor.adapters.access_token import TokenOutcome, credentials
from processor.adapters.calling import ApiCall, operation_of
from processor.adapters.http_httpx import HttpxClient
from processor.adapters.shapes import leaves_of
from processor.adapters.workflows_api import WorkflowsApi
from processor.cli.probe_talk import End, Heard, Recorder, Stage, Talk
from processor.cli.probe_webhooks import WebhookEar, owners_in
from processor.core.catalogue import Catalogue
from processor.core.launch import Launch
from processor.core.messages import (
    CallAnswered,
    Create,
    Finished,
    LinkIssued,
    PermitGranted,
    Prepared,
    ReadResult,
    ReadStatus,
    RequestArrived,
    ResultRead,
    Started,
    StartWorkflow,
    StatusRead,
)
from processor.core.model import SECOND_MS, Instant, OnboardingRequest
from processor.core.preparation import Preparation
from processor.core.proof import Proof
from processor.core.state import Decision
from processor.errors import ApiUnavailable
from processor.roles.profile_http import http_settings
from processor.settings import ApiSettings

PERMIT_MS = 5 * SECOND_MS
RESULT_READS_MAX = 5
HEARING_S = 20.0  # After the end: how long its webhook is waited for.


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a workflow is followed, and the wait between two reads; seconds."""

    wait_s: float
    poll_s: float


class Prober:
    """Makes one run and follows it; `show_link` is given what the end user needs to start it."""

    def __init__(
        self,
        talk: Talk,
        catalogue: Catalogue,
        api: ApiSettings,
        *,
        clock: Callable[[], Instant],
        show_link: Callable[[LinkIssued], None],
    ) -> None:
        self._talk = talk
        self._catalogue = catalogue
        self._token_client = HttpxClient(http_settings(api))
        self._recorder = Recorder(HttpxClient(http_settings(api)), talk, api.base_url, clock)
        self._credentials = credentials(api, self._token_client, self._told)
        self._api = WorkflowsApi(catalogue, api, self._recorder, self._credentials, clock=clock, tell=lambda *_: None)
        self._token_s_max = api.call_deadline_s + api.connect_timeout_s
        self._denied: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._clock = clock
        self._show_link = show_link
        self._attempt = 0

    async def close(self) -> None:
        """Close connections and credentials."""
        await self._credentials.close()
        await self._token_client.close()
        await self._recorder.close()

    async def authorize(self) -> None:
        """Obtain a token; raises ApiUnavailable that says why there is none."""
        self._credentials.start()
        ready = asyncio.ensure_future(self._credentials.ready())
        either: set[asyncio.Future[Any]] = {ready, self._denied}
        done, _ = await asyncio.wait(either, timeout=self._token_s_max, return_when=asyncio.FIRST_COMPLETED)
        if ready in done:
            return
        ready.cancel()
        why = self._denied.result() if self._denied.done() else "no answer in time"
        raise ApiUnavailable(f"the provider gives no token: {why}; `processor check` says what to mend")

    async def begin(self, request: OnboardingRequest) -> None:
        """Make the request's record or case and parameters, and start its workflow, once."""
        preparation, launch = Preparation(self._catalogue), Launch(self._catalogue)
        parts: dict[str, dict[str, Any]] = {"preparation": {}, "launch": {}}
        waiting: list[tuple[str, Any]] = [("preparation", RequestArrived(request, None))]
        while waiting:
            name, fact = waiting.pop(0)
            decider: Any = preparation if name == "preparation" else launch
            decision: Decision = decider.decide(parts[name], fact, self._clock())
            changed = {**parts[name], **decision.changes}
            parts[name] = {part: value for part, value in changed.items() if value is not None}
            waiting += [("launch", prepared) for prepared in self._told_by(decision)]
            answers = await self._made(decision)
            if answers is None:
                return
            waiting += [(name, answer) for answer in answers]
            if decision.wants_permit is not None:
                waiting.append((name, PermitGranted(self._clock() + PERMIT_MS)))

    async def follow(self, patience: Patience, ear: WebhookEar | None) -> None:
        """Read the status until the workflow has ended or the wait is over, and its result before and after."""
        give_up_at_s = time.monotonic() + patience.wait_s
        if "workflow" not in self._talk.ids and ear is not None:
            await self._find(ear, patience, give_up_at_s)
        if "workflow" not in self._talk.ids:
            return
        self._talk.end = End.RUNNING
        self._recorder.stage = Stage.RUNNING
        if not self._talk.is_over():
            await self._read_result()
        while not self._talk.is_over() and time.monotonic() < give_up_at_s:
            read = await self._read_status()
            if not self._talk.is_over():
                await asyncio.sleep(max(patience.poll_s, (read.wait_ms or 0) / SECOND_MS))
        if self._talk.is_over():
            await self._look_back(patience)
        if ear is not None:
            await ear.until(lambda: any(self._is_last(heard) for heard in self._ours(ear)), HEARING_S)
            self._talk.heard = self._ours(ear)
            self._talk.foreign = len(ear.heard) - len(self._talk.heard)

    async def _look_back(self, patience: Patience) -> None:
        """Read once more what is final, and its result until it is there."""
        self._recorder.stage = Stage.ENDED
        last = next(reversed(self._talk.words)).upper()
        self._talk.end = End.COMPLETED if last in self._talk.workflow.success else End.FAILED
        await self._read_status()
        for _ in range(RESULT_READS_MAX):
            read = await self._read_result()
            if read.proof is not Proof.REFUSED:
                break
            await asyncio.sleep(patience.poll_s)
        self._talk.is_result_available = {Proof.DONE: True, Proof.REFUSED: False}.get(read.proof)

    def _told_by(self, decision: Decision) -> list[Prepared]:
        """Take in what a decision publishes; return what is handed over."""
        talk, handed_over = self._talk, []
        for output in decision.outputs:
            match output:
                case Prepared():
                    handed_over.append(output)
                    made = {"record": output.record_id, "case": output.case_id, "parameters": output.parameters_id}
                    talk.ids |= {role: text for role, text in made.items() if text}
                case LinkIssued():
                    talk.why = ""
                    talk.end = End.RUNNING if "workflow" in talk.ids else End.NO_WORKFLOW_ID
                    self._show_link(output)
                case Started():
                    talk.end, talk.why = End.RUNNING, ""
                    talk.ids["workflow"] = output.workflow_id
                    talk.saw(output.status, self._clock())
                case Finished():
                    talk.why = output.message or str(output.outcome)
                case _:
                    pass
        return handed_over

    async def _made(self, decision: Decision) -> list[CallAnswered] | None:
        """Make a decision's calls and return their answers; None where one did not do what it was for."""
        answers = []
        for call in decision.calls:
            if not isinstance(call, Create | StartWorkflow):
                return None
            if isinstance(call, StartWorkflow):  # Whoever interrupts from here on may have started it.
                self._talk.end, self._talk.why = End.UNKNOWN, f"{call.operation}: not answered"
            answer = await self._perform(call)
            assert isinstance(answer, CallAnswered), "a creation or a start is answered as one"
            if answer.proof is not Proof.DONE:
                is_unknown = answer.proof is Proof.UNKNOWN and isinstance(call, StartWorkflow)
                self._talk.end = End.UNKNOWN if is_unknown else End.NOT_STARTED
                self._talk.why = f"{call.operation}: {answer.why}"
                return None
            answers.append(answer)
        return answers

    async def _find(self, ear: WebhookEar, patience: Patience, give_up_at_s: float) -> None:
        """Wait for a webhook of our record or case, and learn from it which workflow it is."""
        asked: set[str] = set()
        while "workflow" not in self._talk.ids and time.monotonic() < give_up_at_s:
            candidates = [each for heard in ear.heard for each in owners_in(heard, self._talk.ids)]
            fresh = [each for each in dict.fromkeys(candidates) if each not in asked]
            for candidate in fresh:
                asked.add(candidate)
                if await self._is_ours(candidate):
                    return
            known = len(ear.heard)
            await ear.until(lambda known=known: len(ear.heard) > known, patience.poll_s)  # type: ignore[misc]

    async def _is_ours(self, workflow_id: str) -> bool:
        """Take a workflow as ours when its status shows our record or case; keep nothing of another one."""
        self._talk.ids["workflow"] = workflow_id
        self._recorder.stage = Stage.RUNNING
        words, count = dict(self._talk.words), len(self._talk.exchanges)
        read = await self._read_status()
        if read.proof is Proof.DONE and self._talk.is_record_shown is not False:
            return True
        del self._talk.ids["workflow"], self._talk.exchanges[count:]
        self._talk.words = words
        return False

    async def _read_status(self) -> StatusRead:
        workflow, ids = self._talk.workflow, self._talk.ids
        self._attempt += 1
        call = ReadStatus(workflow.name, ids["workflow"], self._attempt, workflow.provider, workflow.api)
        read = await self._perform(call)
        assert isinstance(read, StatusRead), "a status read is answered as one"
        if read.proof is Proof.DONE:
            self._talk.saw(read.status, self._clock())
            ours = {text.lower() for role in ("record", "case") if (text := ids.get(role))}
            shown = {text.lower() for text in (read.record_id, read.case_id) if text}
            self._talk.is_record_shown = bool(ours & shown) if ours else None
        return read

    async def _read_result(self) -> ResultRead:
        workflow, ids = self._talk.workflow, self._talk.ids
        self._attempt += 1
        case_id = ids.get("case") if workflow.result_source == "case" else None
        call = ReadResult(workflow.name, ids["workflow"], self._attempt, workflow.provider, workflow.api, case_id)
        read = await self._perform(call)
        assert isinstance(read, ResultRead), "a result read is answered as one"
        return read

    async def _perform(self, call: ApiCall) -> Any:  # noqa: ANN401  # the fact of any call
        self._recorder.step = operation_of(call)
        return await self._api.perform(call)

    def _ours(self, ear: WebhookEar) -> list[Heard]:
        return [heard for heard in ear.heard if owners_in(heard, {"workflow": self._talk.ids["workflow"]})]

    def _is_last(self, heard: Heard) -> bool:
        """Whether a webhook can be that of the end.

        It says the word that was read last, or comes after that was read and says none of the words before it.
        """
        *before, last = [*self._talk.words] or [""]
        said = {text.upper() for _, text in leaves_of(heard.body)}
        is_earlier = not said.isdisjoint(word.upper() for word in before)
        return last.upper() in said or (heard.at >= self._talk.words.get(last, heard.at) and not is_earlier)

    def _told(self, outcome: TokenOutcome, why: str) -> None:
        if outcome is not TokenOutcome.RENEWED and not self._denied.done():
            self._denied.set_result(f"{outcome}, {why}")
