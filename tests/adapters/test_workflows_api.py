"""The provider's calls: when they are made, as whom, and what follows a refused token, over fakes."""

import asyncio
from dataclasses import replace

import pytest

from processor.adapters.calling import ApiCall
from processor.adapters.credential import Credentials
from processor.adapters.http import HttpFailure, Reason
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.proof import Proof
from processor.settings import ApiSettings, CredentialKind
from tests.adapters.api_calls import (
    BASE_URL,
    CATALOGUE,
    NEW,
    NOW,
    OK,
    OLD,
    PARAMETERS,
    RECORD,
    RESULT,
    RUN,
    STATUS,
    UNAUTHORIZED,
    Calling,
)
from tests.adapters.fake_http import Answer, FakeCredential, FakeHttp, json_answer, one_for_all

DEADLINES: list[tuple[ApiCall, float]] = [
    (RECORD, 15.0),
    (STATUS, 15.0),
    (RESULT, 15.0),
    (RUN, 30.0),
    (replace(RUN, deadline_at=NOW + 7_500), 7.5),
]


@pytest.mark.parametrize("call, deadline_s", DEADLINES)
async def test_a_call_has_the_deadline_of_its_kind(call: ApiCall, deadline_s: float) -> None:
    """A run also ends before the deadline that its intent wrote down."""
    calling = Calling(OK)
    await calling.api.perform(call)
    assert calling.http.requests[0].deadline_s == deadline_s


async def test_without_a_token_nothing_is_sent() -> None:
    """The gate is closed then; a call that slipped through says so and spends nothing."""
    calling = Calling(OK, headers=(None,))
    assert not calling.api.is_ready()
    told = await calling.api.perform(RUN)
    assert (told.proof, told.why, calling.http.requests) == (Proof.NOT_SENT, "no access token", [])


@pytest.mark.parametrize("call", [RUN, RECORD, STATUS])
async def test_401_renews_the_token_and_repeats_once(call: ApiCall) -> None:
    """The repeat is the same call with the new token, and the listener hears of the last answer."""
    calling = Calling(UNAUTHORIZED, OK, headers=(OLD, NEW))
    told = await calling.api.perform(call)
    assert told.proof is Proof.DONE
    assert calling.credential.renewals == [OLD]
    first, second = calling.http.requests
    assert [header for header in second.headers if header not in first.headers] == [NEW]
    assert (second.url, second.body) == (first.url, first.body)
    assert second.deadline_s <= first.deadline_s
    assert [label for _, label in calling.told] == ["200"]


AFTER_401: dict[str, tuple[tuple[Answer, ...], tuple[tuple[str, str] | None, ...], Proof, int]] = {
    "401 again": ((UNAUTHORIZED,), (OLD, NEW), Proof.OUR_FAULT, 2),
    "no other token exists": ((UNAUTHORIZED,), (OLD,), Proof.OUR_FAULT, 1),
    "no token for now": ((UNAUTHORIZED,), (OLD, None), Proof.WAIT, 1),
    "the repeat is not sent": ((UNAUTHORIZED, HttpFailure(Reason.CONNECT)), (OLD, NEW), Proof.NOT_SENT, 2),
    "the repeat is not answered": ((UNAUTHORIZED, HttpFailure(Reason.TIMEOUT)), (OLD, NEW), Proof.UNKNOWN, 2),
    "the repeat is refused": ((UNAUTHORIZED, json_answer(422, {})), (OLD, NEW), Proof.REFUSED, 2),
}


@pytest.mark.parametrize("case", AFTER_401)
async def test_what_comes_after_401_decides(case: str) -> None:
    """Nothing was executed before; while no token is to be had, the fault is not the workflow's."""
    answers, headers, proof, requests = AFTER_401[case]
    calling = Calling(*answers, headers=headers)
    assert (await calling.api.perform(RUN)).proof is proof
    assert len(calling.http.requests) == requests


async def test_no_run_is_repeated_after_its_time() -> None:
    """A renewal may take longer than the run has left; not executed, it may come again."""
    calling = Calling(UNAUTHORIZED, OK, headers=(OLD, NEW))
    told = await calling.api.perform(replace(RUN, deadline_at=NOW + 1, send_before=NOW + 1))
    assert told.proof in {Proof.WAIT, Proof.DONE}
    endless = Endless(OLD)
    api = WorkflowsApi(
        CATALOGUE,
        ApiSettings(base_url=BASE_URL),
        calling.http,
        one_for_all(endless),
        clock=lambda: NOW,
        tell=lambda *_: None,
    )
    calling.http.answers = [UNAUTHORIZED]
    told = await api.perform(replace(RUN, deadline_at=NOW + 20))
    assert (told.proof, told.why) == (Proof.WAIT, "HTTP 401, no new access token now")


@pytest.mark.parametrize("call,kind", [(RECORD, "create"), (PARAMETERS, "create"), (RUN, "start"), (STATUS, "read")])
async def test_each_kind_of_calls_has_its_credential(call: ApiCall, kind: str) -> None:
    """Creations, starts and reads may be somebody else's each; a 401 renews only the one that met it."""
    held = {kind: FakeCredential(("authorization", f"{kind}"), NEW) for kind in CredentialKind}
    http = FakeHttp(UNAUTHORIZED, OK)
    api = WorkflowsApi(
        CATALOGUE, ApiSettings(base_url=BASE_URL), http, Credentials(held), clock=lambda: NOW, tell=lambda *_: None
    )
    await api.perform(call)
    assert [dict(request.headers)["authorization"] for request in http.requests] == [kind, NEW[1]]
    assert [one for one, credential in held.items() if credential.renewals] == [kind]


class Endless(FakeCredential):
    """Never done with a renewal."""

    async def renew(self, stale: tuple[str, str]) -> tuple[str, str] | None:
        await asyncio.Event().wait()
        return stale


@pytest.mark.parametrize("failure", [409, 429, 500, 503])
async def test_no_other_answer_is_followed_by_a_second_request(failure: int) -> None:
    """Whether and when to repeat is the decider's to say."""
    calling = Calling(json_answer(failure, {}), headers=(OLD, NEW))
    await calling.api.perform(RUN)
    assert len(calling.http.requests) == 1
    assert calling.told == [("run", str(failure))]


async def test_the_listener_hears_why_there_is_no_answer() -> None:
    """A word of the closed list of reasons."""
    calling = Calling(HttpFailure(Reason.DISCONNECTED))
    await calling.api.perform(RECORD)
    assert calling.told == [("create-record", "disconnected")]


async def test_an_answer_that_breaks_the_reading_is_unknown() -> None:
    """A mistake of ours while reading may not lose the call: it was sent."""
    calling = Calling(json_answer(422, {}))
    del calling.now  # The clock is broken from here on.
    told = await calling.api.perform(RECORD)
    assert (told.proof, told.why) == (Proof.UNKNOWN, "unreadable answer, AttributeError")
