"""Links, mails, one more link and repeated runs in every order of what can happen: one way out for each request."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from processor.core.launch import Fact
from processor.core.messages import EvidenceJudged, Resolution, Started
from processor.core.model import ApiVersion
from processor.core.proof import Operation, Proof
from processor.core.state import LaunchPhase
from tests.core.launch_acts import (
    Act,
    answer,
    answer_with,
    check_end,
    check_ways_out,
    deadline,
    decide,
    orders,
    restart,
    wake_in,
)
from tests.core.launching import (
    AGAIN,
    LINKED,
    MAILED,
    W1,
    Key,
    asked,
    linked,
    mailed,
    observed,
    prepared,
    proved,
    ran,
    sent,
)

V3 = prepared(name=LINKED, api=ApiVersion.TABLES)
DEPTHS = [pytest.param(3, id="3"), pytest.param(5, id="5", marks=pytest.mark.slow)]


def used(key: Key) -> None:
    """The end user starts the workflow, if a link is out; its webhook comes."""
    is_out = any(number > 0 for number in key.links()) or any(key.runs for name in key.state if name == "head")
    if is_out:
        key.tell(observed(W1, at=key.now))


def tells(*facts: Fact) -> Act:
    """Return that facts come."""
    return lambda key: key.tell(*facts)


def judged(key: Key) -> None:
    """Completion has judged all evidence, whether anybody waits for it or not."""
    key.tell(EvidenceJudged("A", key.head.attempt if key.head else 1))


LINKS: Mapping[str, Act] = {
    "answer link": answer_with(lambda attempt: linked(attempt=attempt)),
    "answer link later": answer_with(lambda attempt: linked(attempt=attempt)),
    "answer lost": answer_with(lambda attempt: linked(Proof.UNKNOWN, attempt=attempt)),
    "answer not sent": answer_with(lambda attempt: linked(Proof.NOT_SENT, attempt=attempt)),
    "intent timer": wake_in(LaunchPhase.INTENT),
    "back-off": wake_in(LaunchPhase.BACKING_OFF),
    "used": used,
    "asked 2": tells(asked(2)),
    "asked 3": tells(asked(3)),
    "restart": restart,
    "person: started": decide(Resolution.STARTED, W1),
    "person: give up": decide(Resolution.GIVE_UP),
    "deadline": deadline,
}
# A mail was sent with the first attempt, and everything that can be heard of that.
MAILS: Mapping[str, Act] = {
    "answer done": answer_with(lambda attempt: mailed(attempt=attempt)),
    "answer done later": answer_with(lambda attempt: mailed(attempt=attempt)),
    "answer unknown": answer_with(lambda attempt: mailed(Proof.UNKNOWN, attempt=attempt)),
    "proof done": tells(replace(proved(Proof.DONE), operation=Operation.SEND_LINK)),
    "observed": used,
    "intent timer": wake_in(LaunchPhase.INTENT),
    "window timer": wake_in(LaunchPhase.UNKNOWN),
    "asked 2": tells(asked(2, name=MAILED)),
    "restart": restart,
    "person: started": decide(Resolution.STARTED, W1),
    "deadline": deadline,
}
# A workflow of version 3 runs with each attempt.
TABLES: Mapping[str, Act] = {
    "answer": answer_with(lambda attempt: ran(f"{W1[:-1]}{attempt}", attempt=attempt)),
    "answer later": answer_with(lambda attempt: ran(f"{W1[:-1]}{attempt}", attempt=attempt)),
    "answer without link": answer_with(lambda attempt: ran(f"{W1[:-1]}{attempt}", link=None, attempt=attempt)),
    "answer unknown": answer(Proof.UNKNOWN),
    "proof of 1": tells(proved(Proof.DONE, W1)),
    "observed 1": tells(observed(W1)),
    "intent timer": wake_in(LaunchPhase.INTENT),
    "window timer": wake_in(LaunchPhase.UNKNOWN),
    "asked 2": tells(replace(asked(2), origin=V3.origin)),
    "asked 3": tells(replace(asked(3), origin=V3.origin)),
    "restart": restart,
    "deadline": deadline,
}
# Each attempt of a run that the catalogue wants repeated runs, and all that can be heard of the first.
REPEATED: Mapping[str, Act] = {
    "answer done": answer(Proof.DONE, W1),
    "answer unknown": answer(Proof.UNKNOWN),
    "observed": lambda key: key.trace(observed(W1)),
    "proof done": lambda key: key.trace(proved(Proof.DONE, W1)),
    "intent timer": wake_in(LaunchPhase.INTENT),
    "window timer": wake_in(LaunchPhase.UNKNOWN),
    "judged": judged,
    "evidence read": wake_in(LaunchPhase.CERTAIN),
    "restart": restart,
    "person: give up": decide(Resolution.GIVE_UP),
    "deadline": deadline,
}


def _check_numbers(path: tuple[str, ...], key: Key) -> None:
    """Every link is told of once, and attempts are numbered without a gap."""
    numbers = [abs(number) for number in key.links()]
    assert len(set(numbers)) == len(numbers), path
    attempts = [attempt for _, attempt in key.runs]
    assert attempts == list(range(1, len(attempts) + 1)), path


def _can_be_seen(_: Key, path: tuple[str, ...]) -> bool:
    """Nobody can name a workflow that was never started."""
    return path[-1] != "person: started" or "used" in path or "observed" in path


@pytest.mark.parametrize("most", DEPTHS)
def test_a_link_is_issued_until_it_is_there_and_its_request_ends_once_in_every_order(most: int) -> None:
    """Lost answers, use, further links, persons, restarts, deadline: a link costs nothing to issue again."""
    for path, key in orders(sent(prepared(name=LINKED)), LINKS, most, _can_be_seen):
        check_ways_out(key)
        _check_numbers(path, key)
        if len(path) == most:
            check_end(path, key)


@pytest.mark.parametrize("most", DEPTHS)
def test_a_mail_goes_out_once_for_each_link_in_every_order(most: int) -> None:
    """The first one once, and one more only where upstream asks for it."""
    for path, key in orders(sent(prepared(name=MAILED)), MAILS, most, _can_be_seen):
        check_ways_out(key)
        _check_numbers(path, key)
        assert len(key.runs) <= 1 + ("asked 2" in path), path
        if len(path) == most:
            check_end(path, key)


@pytest.mark.parametrize("most", DEPTHS)
def test_a_run_of_version_3_gives_way_only_to_a_newer_one_of_the_same_request_in_every_order(most: int) -> None:
    """One custody; each newer workflow takes the place of the one before it, and brings a link."""
    for path, key in orders(sent(V3), TABLES, most):
        check_ways_out(key)
        _check_numbers(path, key)
        assert len(key.runs) <= 1 + ("asked 2" in path) + ("asked 3" in path), path
        current = [end.workflow_id for end in key.ends() if isinstance(end, Started)]
        for old, new in key.replaced():
            assert old == current[-1], path
            current.append(new)
        assert len(current) == len(set(current)), path
        if len(path) == most:
            check_end(path, key)


@pytest.mark.parametrize("most", DEPTHS)
def test_a_run_is_repeated_only_once_all_evidence_is_judged_and_read_in_every_order(most: int) -> None:
    """Never after a trace of it, and the result says that it was."""
    for path, key in orders(sent(prepared(name=AGAIN)), REPEATED, most):
        check_ways_out(key)
        _check_numbers(path, key)
        assert key.runs_at_trace in {None, len(key.runs)}, path
        if len(key.runs) > 1:
            assert path.index("judged") < path.index("evidence read"), path
        assert all(end.is_rerun is (len(key.runs) > 1) for end in key.ends()), path
        if len(path) == most:
            check_end(path, key)


@pytest.mark.slow
def test_the_orders_reach_what_they_are_about() -> None:
    """An order that never happens checks nothing."""
    again = [key for _, key in orders(sent(prepared(name=AGAIN)), REPEATED, 5) if len(key.runs) > 1]
    assert len(again) > 10
    tables = [key for _, key in orders(sent(V3), TABLES, 3) if key.replaced()]
    assert len(tables) > 3
    links = [key for _, key in orders(sent(prepared(name=LINKED)), LINKS, 3) if 2 in key.links()]
    assert len(links) > 1
