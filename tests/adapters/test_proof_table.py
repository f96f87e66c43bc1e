"""What every end of every call proves: one table, over a client by hand and over real sockets for each that ships.

The letters of a row are the proofs of creations, starts, reads (status and case) and result reads.
"""

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import orjson
import pytest
import trustme

from processor.adapters.calling import ApiCall, ApiFact, operation_of
from processor.adapters.http import HttpAnswer, HttpClient, HttpFailure, HttpSettings, Reason
from processor.adapters.workflows_api import WorkflowsApi
from processor.core.messages import Create, StartWorkflow
from processor.core.proof import Operation, Proof
from processor.settings import ApiSettings
from tests.adapters.api_calls import (
    CALLS,
    CATALOGUE,
    CREATIONS,
    NOW,
    OLD,
    READS,
    RESULTS,
    STARTS,
    STATUS,
)
from tests.adapters.fake_http import FakeCredential, FakeHttp, json_answer, one_for_all
from tests.adapters.faulty_server import (
    Behaviour,
    Exchange,
    answer,
    black_hole,
    drip,
    hang_up,
    keep_answering,
    read_then_hang_up,
    read_then_reset,
    read_then_say_nothing,
    reset_while_reading,
    say_nothing,
    serving,
)
from tests.adapters.http_adapters import ADAPTERS
from tests.support.ports import free_port

LETTERS = {
    "D": Proof.DONE,
    "R": Proof.REFUSED,
    "F": Proof.OUR_FAULT,
    "N": Proof.NOT_SENT,
    "W": Proof.WAIT,
    "U": Proof.UNKNOWN,
}
COLUMNS = (CREATIONS, STARTS, READS, RESULTS)
# A record or case that the request named may be what is missing; the definition may be as well, but nobody can tell.
NAMED = [replace(call, is_own=False) for call in STARTS if isinstance(call, StartWorkflow)]

BODY = {"id": "w-1", "caseId": "case-1", "status": "COMPLETED", "link": "https://l.test/1", "token": "t"}
REFUSAL = {"fingerprint": "5f3c", "errors": [{"code": "A", "message": "Ada Example"}]}

UNKNOWN, REFUSED, OUR_FAULT, WAIT, DONE = "UUUU", "RRRR", "FFFF", "WWWW", "DDDD"
STATUSES: dict[int, str] = {
    **dict.fromkeys((200, 201, 202, 203, 299), DONE),
    **dict.fromkeys((300, 301, 302, 303, 307, 308), UNKNOWN),
    **dict.fromkeys((400, 405, 413, 422), REFUSED),
    **dict.fromkeys((401, 403, 406, 415), OUR_FAULT),  # 401: no other token can be had.
    404: "FFRR",
    **dict.fromkeys(
        (402, 407, 408, 409, 410, 411, 412, 414, 417, 418, 421, 423, 424, 425, 426, 428, 431, 451), UNKNOWN
    ),
    429: WAIT,
    **dict.fromkeys((500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 524, 599), UNKNOWN),
}
# Bodies of a 200 that came whole.
BODIES: dict[bytes, str] = {
    b"": "UUUR",
    b"<html>": "UUUR",
    b'{"id":"w-1"': "UUUR",
    b'{"id":"\xff"}': "UUUR",
    b'{"id":NaN}': "UUUR",
    b"[" * 100_000: "UUUR",
    b"null": "UUUD",
    b'"w-1"': "UUUD",
    b'[{"id":"w-1","status":"COMPLETED"}]': "UUUD",
    b'{"id":{},"caseId":[],"status":"COMPLETED","link":7,"token":{}}': DONE,  # It was made, and nobody can use it.
}
NO_STATUS: dict[bytes, str] = {
    b"{}": "U",
    b'{"status":7}': "D",  # As text.
    b'{"status":null}': "U",
    b'{"status":{}}': "U",
    b'{"status":""}': "U",
}
UNSENT = ("dns", "connect", "connect_timeout", "tls", "proxy", "pool", "invalid_request", "closed")
REASONS = {reason: "NNNN" if reason.value in UNSENT else UNKNOWN for reason in Reason}


def rows(columns: str) -> Iterable[tuple[ApiCall, Proof]]:
    """Pair each call with the proof that a row gives it."""
    for calls, letter in zip(COLUMNS, columns, strict=True):
        for call in calls:
            yield call, LETTERS[letter]


def test_the_table_is_whole() -> None:
    """It holds a call of every operation, and rows for every proof and every documented status."""
    assert {operation_of(call) for call in CALLS} == set(Operation)
    assert {*"".join((*STATUSES.values(), *REASONS.values(), *BODIES.values()))} == set(LETTERS)
    documented = {200, 201, 400, 401, 403, 404, 406, 415, 429, 500, 502, 503}
    assert documented <= set(STATUSES)


async def proved(call: ApiCall, answer: HttpAnswer | HttpFailure, **given: object) -> Proof:
    """Say what an answer proves of a call, by settings that differ from the defaults as given."""
    return (await api_over(FakeHttp(answer), "http://provider.test", **given).perform(call)).proof


def api_over(client: HttpClient, base_url: str, **given: object) -> WorkflowsApi:
    """Return the API over a client, with a token that never changes."""
    api = ApiSettings.model_validate({"base_url": base_url, **given})
    return WorkflowsApi(
        CATALOGUE, api, client, one_for_all(FakeCredential(OLD)), clock=lambda: NOW, tell=lambda *_: None
    )


async def test_each_status_proves_what_the_table_says() -> None:
    """Of a refusal the body says nothing more: JSON, words, or nothing."""
    for status, columns in STATUSES.items():
        bodies = [orjson.dumps(BODY)] if columns == DONE else [orjson.dumps(REFUSAL), b"<html>", b""]
        for call, proof in rows(columns):
            for body in bodies:
                assert await proved(call, HttpAnswer(status, {}, body)) is proof, (status, call)


async def test_each_body_of_a_success_proves_what_the_table_says() -> None:
    """What was executed and cannot be read is unknown; a result may be any JSON, and one that is none is not there."""
    for body, columns in BODIES.items():
        for call, proof in rows(columns):
            assert await proved(call, HttpAnswer(200, {}, body)) is proof, (body[:40], call)
    for body, letter in NO_STATUS.items():
        assert await proved(STATUS, HttpAnswer(200, {}, body)) is LETTERS[letter], body


async def test_each_failure_proves_what_the_client_knows_of_it() -> None:
    """One above the limit is known to be there only of a result, and only behind a 2xx."""
    for reason, columns in REASONS.items():
        for call, proof in rows(columns):
            assert await proved(call, HttpFailure(reason)) is proof, (reason, call)
    for status, columns in ((200, "UUUD"), (404, UNKNOWN), (429, UNKNOWN), (500, UNKNOWN)):
        for call, proof in rows(columns):
            assert await proved(call, HttpFailure(Reason.TOO_LARGE, status)) is proof, (status, call)


async def test_404_of_a_start_is_no_fault_of_ours_where_the_request_named_what_may_be_missing() -> None:
    """Then that request alone is refused; without a record or case it is the definition, whoever named it."""
    missing = json_answer(404, REFUSAL)
    for call in NAMED:
        assert await proved(call, missing) is Proof.REFUSED, call
        assert await proved(replace(call, record_id=None, case_id=None), missing) is Proof.OUR_FAULT, call


async def test_503_means_not_executed_only_where_the_settings_say_so() -> None:
    """Some gateways promise it; by default nobody does."""
    for call in CALLS:
        assert await proved(call, json_answer(503, {}), is_503_not_executed=True) is Proof.WAIT
        assert await proved(call, json_answer(502, {}), is_503_not_executed=True) is Proof.UNKNOWN


# --- over sockets


@dataclass
class Clients:
    """One adapter twice: the hasty one gives a connection little time to stand."""

    patient: HttpClient
    hasty: HttpClient


BYTES_MAX = 64 * 1024
DEADLINE_S = 0.4
CONNECT_S = 0.3


@asynccontextmanager
async def clients(adapter: str) -> AsyncIterator[Clients]:
    """Build the clients of one adapter; slots for all rows at once."""
    settings = HttpSettings(connections_max=4_000, body_bytes_max=BYTES_MAX)
    build = ADAPTERS[adapter]
    both = Clients(build(settings), build(replace(settings, connect_timeout_s=CONNECT_S)))
    try:
        yield both
    finally:
        await both.patient.close()
        await both.hasty.close()


def whole(status: int, body: bytes, more: bytes = b"") -> bytes:
    """Return the bytes of a complete answer."""
    return b"HTTP/1.1 %d Told\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


ALL = orjson.dumps(BODY)
PACKED, BOMB = gzip.compress(ALL), gzip.compress(b"\0" * (32 * 1024 * 1024))
LARGE = b'"%b"' % (b"a" * BYTES_MAX)
GZIP = b"Content-Encoding: gzip\r\n"
CUT = b"HTTP/1.1 %d Told\r\nContent-Length: 999\r\n\r\n{}"


async def refuse_tls(exchange: Exchange) -> None:
    """Answer a handshake with HTTP."""
    await exchange.reader.read(1)
    await exchange.write(whole(400, b""))


# Over a connection that stood; one that was answered in whole stays, for a client that keeps it.
WIRE: dict[str, tuple[Behaviour, str]] = {
    "write: reset while it is sent": (reset_while_reading, UNKNOWN),
    "write: hung up at once": (hang_up, UNKNOWN),
    "read: reset before an answer": (read_then_reset, UNKNOWN),
    "read: closed before an answer": (read_then_hang_up, UNKNOWN),
    "read: half a status line": (answer(b"HTTP/1.1 2"), UNKNOWN),
    "read: cut headers": (answer(b"HTTP/1.1 200 OK\r\nContent-"), UNKNOWN),
    "read: broken header": (answer(b"HTTP/1.1 200 OK\r\nbro ken\r\n\r\n"), UNKNOWN),
    "read: no HTTP": (answer(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), UNKNOWN),
    "body: truncated": (answer(CUT % 200), UNKNOWN),
    "body: truncated refusal": (answer(CUT % 422), UNKNOWN),
    "body: truncated 429": (answer(CUT % 429), UNKNOWN),
    "body: chunk cut": (answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}"), UNKNOWN),
    "body: none": (keep_answering(whole(200, b"")), "UUUR"),
    "body: no content": (keep_answering(b"HTTP/1.1 204 None\r\n\r\n"), "UUUR"),
    "body: not JSON": (keep_answering(whole(200, b"<html>")), "UUUR"),
    "body: wrong type": (keep_answering(whole(200, b"[%b]" % ALL)), "UUUD"),
    "body: too large": (keep_answering(whole(200, LARGE)), "UUUD"),
    "body: too large, of a refusal": (keep_answering(whole(404, LARGE)), UNKNOWN),
    "body: compressed unasked": (keep_answering(whole(200, PACKED, GZIP)), UNKNOWN),
    "body: compressed bomb": (keep_answering(whole(200, BOMB, GZIP)), UNKNOWN),
    "body: bomb that does not say so": (keep_answering(whole(200, BOMB[:BYTES_MAX])), "UUUR"),
    "interim answers, then the answer": (keep_answering(b"HTTP/1.1 103 Hints\r\n\r\n" * 3 + whole(201, ALL)), DONE),
}
# The same, and the total deadline passes.
SLOW: dict[str, Behaviour] = {
    "never reads": say_nothing,
    "never answers": read_then_say_nothing,
    "head byte by byte": drip(b"", whole(200, ALL), 0.02),
    "body byte by byte": drip(whole(200, ALL)[: -len(ALL)], ALL, 0.02),
    "refusal byte by byte": drip(whole(422, b" " * 99)[:-99], b" " * 99, 0.02),
}

Told = list[tuple[str, ApiCall, ApiFact, Proof]]


async def all_told(name: str, api: WorkflowsApi, columns: str, *, is_large: bool = False) -> Told:
    """Make all calls at once."""
    expected = list(rows(columns))
    calls = [enlarged(call) if is_large else call for call, _ in expected]
    facts = await asyncio.gather(*map(api.perform, calls))
    return [(name, call, fact, proof) for (call, proof), fact in zip(expected, facts, strict=True)]


def enlarged(call: ApiCall) -> ApiCall:
    """Give a creation a body that no socket takes at once."""
    return replace(call, body=b'"%b"' % (b"a" * 8_000_000)) if isinstance(call, Create) else call


async def over_wire(name: str, client: HttpClient) -> Told:
    """Make all calls at a server that misbehaves; each of them reaches it once at most."""
    behave, columns = WIRE[name]
    async with serving(behave) as server:
        told = await all_told(name, api_over(client, server.origin), columns, is_large=behave is reset_while_reading)
        assert len(server.requests) <= len(CALLS), name
    return told


async def over_slow_wire(name: str, client: HttpClient) -> Told:
    """Make all calls at a server that takes its time."""
    async with serving(SLOW[name]) as server:
        api = api_over(client, server.origin, call_deadline_s=DEADLINE_S, run_deadline_s=DEADLINE_S)
        told = await all_told(name, api, UNKNOWN)
        assert len(server.requests) <= len(CALLS), name
    return told


async def unconnected(both: Clients) -> Told:
    """Make all calls where no connection ever stands."""
    trusted_by_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(trusted_by_nobody)
    async with AsyncExitStack() as stack:
        hole = stack.enter_context(black_hole()).rstrip("/")
        plain = await stack.enter_async_context(serving(refuse_tls))
        strange = await stack.enter_async_context(serving(keep_answering(), trusted_by_nobody))
        silent = await stack.enter_async_context(serving(say_nothing))
        places: list[tuple[str, HttpClient, str]] = [
            ("refused", both.patient, f"http://127.0.0.1:{free_port()}"),
            ("black hole", both.hasty, hole),
            ("no such host", both.hasty, "http://nobody.invalid"),
            ("certificate of a stranger", both.patient, strange.origin),
            ("no TLS there", both.patient, f"https://127.0.0.1:{plain.port}"),
            ("handshake without end", both.hasty, f"https://127.0.0.1:{silent.port}"),
        ]
        told = [all_told(name, api_over(client, url), "NNNN") for name, client, url in places]
        return [row for each in await asyncio.gather(*told) for row in each]


async def over_status(status: int, client: HttpClient) -> Told:
    """Make all calls at a server that answers them with one status."""
    columns = STATUSES[status]
    body = ALL if columns == DONE else orjson.dumps(REFUSAL)
    async with serving(keep_answering(whole(status, body, b"Location: /elsewhere\r\n"))) as server:
        told = await all_told(str(status), api_over(client, server.origin), columns)
        assert len(server.requests) == len(CALLS), status
    return told


Part = Callable[[Clients], Awaitable[list[Told]]]
PARTS: dict[str, Part] = {
    "statuses": lambda both: in_turn(over_status(status, both.patient) for status in STATUSES),
    "connecting": lambda both: in_turn([unconnected(both)]),
    "failures": lambda both: in_turn(over_wire(name, both.patient) for name in WIRE),
    "deadlines": lambda both: asyncio.gather(*(over_slow_wire(name, both.patient) for name in SLOW)),
}


async def in_turn(parts: Iterable[Awaitable[Told]]) -> list[Told]:
    """Await one after the other."""
    return [await part for part in parts]


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_each_end_over_a_socket_proves_what_the_table_says(
    adapter: str, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever client ships, a call reaches the server once at most, and nothing that it carries is told."""
    caplog.set_level(logging.DEBUG)
    async with clients(adapter) as both:
        told = [row for rows_ in await PARTS[part](both) for row in rows_]
    assert [(name, call, fact.proof) for name, call, fact, proof in told if fact.proof is not proof] == []
    words = f"{caplog.text} {[fact for _, _, fact, _ in told]}"
    assert [word for word in ("Ada", "ada@", "l.test", "elsewhere", "Bearer") if word in words] == []
