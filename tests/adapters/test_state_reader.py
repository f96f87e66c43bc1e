"""What of the state waits for a person."""

import json
from dataclasses import replace

import pytest

from processor.adapters.codec import Codec
from processor.adapters.state_reader import Held, StateView, is_settled
from processor.core.launch_parts import new_head, seen_name
from processor.core.messages import Observed, Prepared
from processor.core.state import Candidate, Issued, KnownRequest, Launching, LaunchPhase, Part
from processor.engine.entries import PARKED_PREFIX, POSITION_KEY, pack, storage_key
from processor.engine.ports import Entry, InputRecord
from processor.errors import StateUnreadable
from processor.roles.machines import LaunchMachine
from tests.adapters.samples import AT, ORIGIN

CODEC = Codec()
GAUGES = LaunchMachine.gauges
KEY = "record-1"


def head(phase: LaunchPhase, request_id: str = "r-1", attempt: int = 1) -> Launching:
    """Return the head of a launch key in a phase."""
    origin = replace(ORIGIN, request_id=request_id)
    prepared = Prepared(origin, KEY, KEY, None, is_own=True, parameters_id=None, prepared_at=AT)
    return replace(new_head(prepared, 0, 0), phase=phase, attempt=attempt, intent_at=AT, why="no answer")


def observed(workflow_id: str) -> Observed:
    """Return a workflow that showed itself."""
    return Observed(KEY, workflow_id, KEY, None, "RUNNING", AT, AT)


def record(part: Part | None, name: str = "head", key: str = KEY, offset: int = 0) -> InputRecord:
    """Return a state record as launch writes it; None deletes."""
    value = None
    if part is not None:
        gauge = LaunchMachine.gauge_of(part)
        value = pack(Entry(gauge, None, is_behind_evidence=False, is_waiting=False, body=CODEC.encode(part)))
    return InputRecord("state", 3, offset, storage_key(key, name).encode(), value, (), AT)


def parked(number: int, build: str = "b-1") -> InputRecord:
    """Return a fact that was set aside."""
    body = json.dumps({"build": build}).encode()
    value = pack(Entry(len(GAUGES), None, is_behind_evidence=False, is_waiting=False, body=body))
    name = f"{PARKED_PREFIX}{number:08x}"
    return InputRecord("state", 3, 0, storage_key(KEY, name).encode(), value, (), AT)


def view(*records: InputRecord, sought: str | None = None) -> StateView:
    """Return what these records fold to."""
    folded = StateView("launch", CODEC, GAUGES, sought)
    for each in records:
        folded.fold(each)
    return folded


def issued(**changes: object) -> Issued:
    """Return what is kept of a request whose end user has a link."""
    part = Issued(head(LaunchPhase.READY).prepared, AT, AT, 1, 1, 1, None, None)
    return replace(part, **changes)  # type: ignore[arg-type]  # a column of a table


@pytest.mark.parametrize("phase", LaunchPhase)
def test_only_a_run_that_is_unknown_waits_for_a_person(phase: LaunchPhase) -> None:
    """Requests of unknown outcome are listed, those that will be repeated too; all others go on by themselves."""
    held = view(record(head(phase))).held()
    in_doubt = {LaunchPhase.UNKNOWN, LaunchPhase.HELD, LaunchPhase.GATHERING, LaunchPhase.CERTAIN}
    assert held == ([Held(KEY, 3, head(phase), ())] if phase in in_doubt else [])


@pytest.mark.parametrize(
    "part,is_listed,is_found",
    [
        (issued(), False, True),
        (issued(has_candidates=True), True, True),
        (issued(has_candidates=True, workflow_id="w-1"), False, False),
        (issued(workflow_id="w-1"), False, False),
    ],
)
def test_a_link_waits_for_a_person_where_several_workflows_may_be_it(
    part: Issued,
    is_listed: bool,  # noqa: FBT001  # a column
    is_found: bool,  # noqa: FBT001  # a column
) -> None:
    """Any other waits for its end user, and is shown to whoever asks for it; a known workflow goes on by itself."""
    links = [record(part, "issued/r-1"), record(issued(), "issued/r-2"), record(head(LaunchPhase.READY))]
    assert [each.request_id for each in view(*links).held()] == ["r-1"] * is_listed
    assert [each.request_id for each in view(*links, sought="r-1").held()] == ["r-1"] * is_found
    (held,) = view(record(issued(has_candidates=True, attempts=3), "issued/r-1")).held()
    assert (held.state, held.attempt, held.since, held.why, held.waiting_behind) == ("issued", 3, AT, "", 0)


def test_the_last_record_of_a_key_counts() -> None:
    """A request that was held and went on is not listed, nor is one whose key was deleted."""
    held = record(head(LaunchPhase.HELD))
    assert view(held, record(head(LaunchPhase.READY))).held() == []
    assert view(held, record(None)).held() == []
    assert [each.request_id for each in view(record(head(LaunchPhase.READY)), held).held()] == ["r-1"]


def test_unclaimed_workflows_of_the_record_are_candidates() -> None:
    """A person sees what may be the run; what was claimed since is gone."""
    first, second = (record(Candidate(observed(name), None), seen_name(name)) for name in ("w-1", "w-2"))
    gone = record(None, seen_name("w-1"))
    (held,) = view(first, record(head(LaunchPhase.HELD)), second, gone).held()
    assert [each.workflow_id for each in held.candidates] == ["w-2"]


def test_what_is_not_held_costs_no_memory_and_no_decoding() -> None:
    """Requests that go on and ids that are known are many: their bytes are not looked at."""
    damaged = record(KnownRequest(b"", None), "request/r-1")._replace(value=b"")
    position = InputRecord("state", 3, 0, POSITION_KEY.encode(), b"", (), AT)
    running = Entry(gauge=0, due_at=None, is_behind_evidence=False, is_waiting=False, body=b"not looked at")
    assert view(damaged, position, record(None)._replace(value=pack(running))).held() == []


def test_the_oldest_doubt_comes_first() -> None:
    """The list begins with what has waited longest."""
    young = replace(head(LaunchPhase.UNKNOWN, "young"), intent_at=AT + 5)
    old = replace(head(LaunchPhase.HELD, "old"), intent_at=AT + 9, doubt_at=AT)
    held = view(record(young, key="a"), record(old, key="b")).held()
    assert [each.request_id for each in held] == ["old", "young"]


def test_keys_that_are_set_aside_are_listed_with_the_build_that_failed() -> None:
    """What is parked waits for a new build, and somebody must know."""
    (found,) = view(parked(0), parked(1)).parked()
    assert (found.decider, found.partition, found.facts, found.build) == ("launch", 3, 2, "b-1")
    assert view(parked(0), parked(0)._replace(value=None)).parked() == []


def test_state_of_a_newer_build_is_not_guessed_at() -> None:
    """A wrong list would be worse than none."""
    newer = record(head(LaunchPhase.HELD))._replace(value=b"\x63" * 40)
    with pytest.raises(StateUnreadable):
        view(newer)


@pytest.mark.parametrize(
    "after,expected",
    [
        (None, True),
        (head(LaunchPhase.HELD), False),
        (head(LaunchPhase.UNKNOWN), False),
        (head(LaunchPhase.GATHERING), False),
        (head(LaunchPhase.READY), True),
        (head(LaunchPhase.UNKNOWN, attempt=2), True),
        (head(LaunchPhase.HELD, "r-2"), True),
    ],
)
def test_a_decision_shows_in_the_head(after: Launching | None, expected: bool) -> None:  # noqa: FBT001  # a column
    """It took effect when the request is gone, or its attempt is no longer in doubt."""
    assert is_settled(Held(KEY, 3, head(LaunchPhase.HELD), ()), after) is expected


@pytest.mark.parametrize(
    "after,expected",
    [(None, True), (issued(), False), (issued(has_candidates=True), False), (issued(workflow_id="w-1"), True)],
)
def test_a_decision_shows_in_what_is_kept_of_a_link(after: Issued | None, expected: bool) -> None:  # noqa: FBT001
    """It took effect when the part is gone, or its workflow known."""
    assert is_settled(Held(KEY, 3, issued(has_candidates=True), ()), after) is expected
