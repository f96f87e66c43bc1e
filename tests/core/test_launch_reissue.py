"""One more link of a request that has one: a launch of its own, which never ends the request that it is for."""

from dataclasses import replace

import pytest

from processor.core.launch import Fact, Launch
from processor.core.launch_parts import DOUBTFUL
from processor.core.messages import (
    CaseRead,
    Finished,
    Judge,
    LinkIssued,
    LinkOver,
    Progressed,
    Replaced,
    Resolution,
    Started,
    StartWorkflow,
    Step,
    VerdictReached,
)
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, ApiVersion, Outcome, Timer, Witness
from processor.core.proof import Operation, Proof
from processor.core.state import Decision, KnownWorkflow, LaunchPhase, WaitingLaunch
from tests.core.launching import (
    AFTER,
    BUDGET,
    CASED_LINK,
    CHECK,
    DEADLINE,
    EXCLUSIVE,
    FORGOTTEN,
    LINKED,
    MAILED,
    NEVER_EXECUTED,
    RECORD,
    W1,
    W2,
    Key,
    T,
    answered,
    asked,
    decided,
    in_phase,
    issued,
    linked,
    mailed,
    observed,
    prepared,
    proved,
    ran,
    sent,
)

V3 = prepared(name=LINKED, api=ApiVersion.TABLES)
W3 = "9e8d7c6b-0000-4000-8000-0000000000e3"


def again(name: str = LINKED, number: int = 2) -> Key:
    """Return a key whose request has its call for one more link open."""
    key = sent(prepared(name=name))
    key.tell(linked() if name == LINKED else mailed())
    key.tell(asked(number, name=name), at=T + HOUR_MS)
    key.permit()
    return key


def again_in_version_3() -> Key:
    """Return the same for a request whose workflow is known."""
    key = sent(V3)
    key.tell(ran(W1))
    key.tell(asked(), at=T + HOUR_MS)
    key.permit()
    return key


def refused(number: int = 2, name: str = LINKED, api: ApiVersion = ApiVersion.RECORDS, at: int = T) -> Progressed:
    """Return that there will be no further link."""
    return Progressed(prepared(name=name, api=api).origin, Step.LINK_REFUSED, at, attempt=number)


def test_one_more_link_is_issued_as_the_first_one_was() -> None:
    """It is numbered as upstream asked, and its attempts go on from those of the first."""
    key = issued()
    assert key.tell(asked(5), at=T + HOUR_MS).wants_permit == f"default/{LINKED}"
    key.permit()
    first, second = key.calls
    assert isinstance(first, StartWorkflow)
    assert isinstance(second, StartWorkflow)
    later_ms = HOUR_MS
    assert second == replace(
        first, attempt=2, send_before=first.send_before + later_ms, deadline_at=first.deadline_at + later_ms
    )
    key.tell(linked(link="https://other", attempt=2))
    (link,) = [output for output in key.outputs if isinstance(output, LinkIssued)][1:]
    assert (link.link_attempt, link.link, link.issued_at) == (5, "https://other", key.now)
    kept = key.issued()
    assert kept is not None
    assert (kept.attempts, kept.link_attempt, kept.asked_attempt, kept.intent_at, kept.link_at) == (2, 5, 5, T, key.now)
    assert key.phase is None


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_link_is_asked_for_once(number: int) -> None:
    """The same or a lower number says nothing, whether that link waits, is called, was issued or refused."""
    key = issued()
    key.tell(asked(3))
    assert key.tell(asked(number)) == Decision()
    key.permit()
    assert key.tell(asked(number)) == Decision()
    done, gone = key.copy(), key.copy()
    done.tell(linked(attempt=2))
    gone.tell(linked(Proof.REFUSED, attempt=2), VerdictReached(2, is_our_fault=False, request_id="A"))
    assert (done.links(), gone.links()) == ([1, 3], [1, -3])
    for key in (done, gone):
        assert key.tell(asked(number)) == Decision()
        key.tell(asked(4))
        key.permit()
        assert [attempt for _, attempt in key.runs] == [1, 2, 3]


@pytest.mark.parametrize("phase", LaunchPhase)
def test_a_link_that_is_asked_for_before_the_first_one_is_coming_anyway(phase: LaunchPhase) -> None:
    """Active or waiting: nothing happens, unless nobody knows whether the first one was mailed."""
    key = in_phase(phase)
    key.tell(prepared("B", name=LINKED))
    first, second = (key.launch.decide(key.state, asked(2, request_id), key.now) for request_id in ("A", "B"))
    assert second == Decision()
    steps = [output.step for output in first.outputs if isinstance(output, Progressed)]
    assert steps == ([Step.LINK_REFUSED] if phase in DOUBTFUL else [])
    assert first.changes == {}


def _ended_by(way: str) -> Key:
    key = issued()
    match way:
        case "used":
            key.tell(observed())
        case "expired":
            key.wake("issued/A")
        case "given up":
            key.tell(decided(Resolution.GIVE_UP))
        case _:
            key = Key()
    return key


@pytest.mark.parametrize("way", ["used", "expired", "given up", "never came"])
def test_no_further_link_is_issued_of_a_request_that_has_ended_or_never_came(way: str) -> None:
    """Upstream is told, and nothing else changes."""
    key = _ended_by(way)
    key.tell(prepared("B"))
    assert key.tell(asked()) == Decision(outputs=(refused(at=key.now),))


def test_one_more_link_waits_in_its_turn() -> None:
    """Behind what waits for the record already."""
    key = issued()
    key.tell(prepared("B"))
    key.permit()
    key.tell(prepared("C"), asked())
    waiting = WaitingLaunch(prepared(name=LINKED), Timer(DEADLINE, is_behind_evidence=True), link_attempt=2)
    assert key.state["w/0000000000000001"] == waiting
    key.tell(answered(Proof.DONE, W1, request_id="B"))
    key.permit()
    key.tell(answered(Proof.DONE, W2, request_id="C"))
    key.permit()
    key.tell(linked(attempt=2))
    assert (key.runs, key.links()) == ([("A", 1), ("B", 1), ("C", 1), ("A", 2)], [1, 2])


@pytest.mark.parametrize("way", ["used", "expired", "given up"])
@pytest.mark.parametrize("where", ["waiting", "ready", "backing off", "suspect", "intent", "unknown"])
def test_one_more_link_ends_with_its_request(way: str, where: str) -> None:
    """Wherever it stands; an open call is answered first, and what it brings is of no use any more."""
    key = issued()
    if where == "waiting":
        key.tell(prepared("B"))
    key.tell(asked())
    if where in {"backing off", "suspect", "intent"}:
        key.permit()
    if where in {"backing off", "suspect"}:
        key.tell(linked(Proof.NOT_SENT if where == "backing off" else Proof.REFUSED, attempt=2))
    if where == "unknown":
        key = again(MAILED)
        key.tell(mailed(Proof.UNKNOWN, attempt=2))
    match way:
        case "used":
            key.tell(observed())
        case "expired":
            key.wake("issued/A")
        case _:
            key.tell(decided(Resolution.GIVE_UP))
    if where == "waiting":
        assert key.phase is LaunchPhase.READY
        key.tell(*_done(key))
    if where == "intent":
        assert key.links() == [1]
        key.tell(linked(attempt=2))
    assert (key.links(), key.phase, len(key.ends())) == ([1, -2], None, 1)


def _done(key: Key) -> tuple[Fact, ...]:
    if key.wants is not None:
        key.permit()
    return (answered(Proof.DONE, W3, request_id="B"),)


@pytest.mark.parametrize("proof", [*NEVER_EXECUTED, Proof.UNKNOWN])
def test_an_open_call_for_a_link_of_a_request_that_has_ended_is_not_repeated(proof: Proof) -> None:
    """Whatever it says."""
    key = again()
    key.tell(observed(at=key.now), linked(proof, attempt=2))
    assert (key.links(), key.phase, key.wants) == ([1, -2], None, None)


@pytest.mark.parametrize(
    "proof, phase",
    [
        (Proof.NOT_SENT, LaunchPhase.BACKING_OFF),
        (Proof.WAIT, LaunchPhase.BACKING_OFF),
        (Proof.UNKNOWN, LaunchPhase.BACKING_OFF),
        (Proof.OUR_FAULT, LaunchPhase.READY),
        (Proof.REFUSED, LaunchPhase.SUSPECT),
    ],
)
def test_one_more_link_that_is_not_there_yet_is_tried_again(proof: Proof, phase: LaunchPhase) -> None:
    """As the first one."""
    key = again()
    key.tell(linked(proof, attempt=2))
    assert key.phase is phase
    if phase is LaunchPhase.BACKING_OFF:
        key.wake()
    if phase is LaunchPhase.SUSPECT:
        assert key.calls[-1] == Judge(Operation.ISSUE_LINK, LINKED, "A", 2)
        key.tell(VerdictReached(2, is_our_fault=True, request_id="A"))
    key.permit()
    key.tell(linked(attempt=3))
    assert (key.links(), key.ends()) == ([1, 2], [])


def test_a_genuine_refusal_of_one_more_link_leaves_the_request_as_it_is() -> None:
    """The link that it has may still be used."""
    key = again()
    key.tell(linked(Proof.REFUSED, attempt=2), VerdictReached(2, is_our_fault=False, request_id="A"))
    assert (key.links(), key.ends(), key.phase) == ([1, -2], [], None)
    key.tell(observed(at=key.now))
    assert [(end.workflow_id, type(end)) for end in key.ends()] == [(W1, Started)]


def test_one_more_mail_of_unknown_outcome_is_not_sent_again() -> None:
    """After the window there is none; the request itself goes on waiting, and nobody is asked."""
    key = again(MAILED)
    key.tell(mailed(Proof.UNKNOWN, attempt=2))
    assert key.phase is LaunchPhase.UNKNOWN
    late, over = key.copy(), key.copy()
    late.tell(mailed(attempt=2))
    over.wake()
    assert (late.links(), over.links(), len(over.runs)) == ([1, 2], [1, -2], 2)
    assert all(step.step is not Step.HELD for step in over.outputs if isinstance(step, Progressed))
    for key in (late, over):
        assert (key.phase, key.ends()) == (None, [])
        key.tell(observed(at=key.now))
        assert [(end.workflow_id, end.attempts) for end in key.ends()] == [(W1, 2)]


def test_a_use_of_the_first_link_starts_the_request_while_one_more_is_unknown() -> None:
    """Two links, one request: the workflow is its run, whichever was used."""
    key = again(MAILED)
    key.tell(mailed(Proof.UNKNOWN, attempt=2), observed(at=key.now))
    assert ([end.workflow_id for end in key.ends()], key.links(), key.phase) == ([W1], [1, -2], None)


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_person_may_decide_about_a_link_while_one_more_is_unknown(attempt: int) -> None:
    """By the attempt that either part of the state shows."""
    key = again(MAILED)
    key.tell(mailed(Proof.UNKNOWN, attempt=2), decided(Resolution.STARTED, W1, attempt=attempt))
    assert ([end.workflow_id for end in key.ends()], key.links(), key.phase) == ([W1], [1, -2], None)


def test_the_deadline_ends_the_wait_for_one_more_link_and_then_the_request() -> None:
    """Each in its own words, in whatever order their timers fire."""
    for first, second in (("head", "issued/A"), ("issued/A", "head")):
        key = issued()
        key.tell(asked())
        key.wake(first)
        if second in key.state:
            key.wake(second)
        (result,) = key.ends()
        assert isinstance(result, Finished)
        assert (result.outcome, key.links(), key.phase) == (Outcome.EXPIRED, [1, -2], None)


def test_a_waiting_link_ends_at_the_deadline_without_ending_its_request() -> None:
    """Its own timer says so."""
    key = issued()
    key.tell(prepared("B", deadline_at=AFTER))
    key.tell(asked())
    key.wake("w/0000000000000000")
    assert (key.links(), key.ends()) == ([1, -2], [])


def test_a_workflow_that_no_end_user_starts_any_more_gets_no_further_link() -> None:
    """The call would run it: the catalogue has changed since the first link."""
    key = issued()
    workflows = {LINKED: replace(key.launch.catalogue.workflows[CHECK], name=LINKED)}
    key.launch = Launch(replace(key.launch.catalogue, workflows=workflows))
    key.tell(asked(), prepared("B"))
    assert key.permit().wants_permit == BUDGET
    assert (key.links(), key.runs) == ([1, -2], [("A", 1)])


def test_one_more_link_of_version_3_is_a_newer_workflow_which_takes_the_place_of_the_older() -> None:
    """Custody is passed on by completion, which holds it; known is the newer one from now on."""
    key = again_in_version_3()
    decision = key.tell(ran(W2, attempt=2))
    started = Started(V3.origin, W2, RECORD, None, "RUNNING", key.now, Witness.RUN_ANSWER, attempts=2, revision=1)
    assert decision.outputs[0] == Replaced(W1, started)
    kept = key.issued()
    assert kept is not None
    assert (kept.workflow_id, key.links(), len(key.ends())) == (W2, [1, 2], 1)
    assert {f"known/{W1}", f"known/{W2}", "issued/A"} == set(key.parts())
    key.tell(asked(3))
    key.permit()
    key.tell(ran(W3, attempt=3))
    assert key.replaced() == [(W1, W2), (W2, W3)]


def test_a_newer_link_of_the_same_workflow_replaces_nothing() -> None:
    """Should the provider ever answer with the run that there is."""
    key = again_in_version_3()
    key.tell(ran(W1.upper(), attempt=2))
    assert (key.replaced(), key.links()) == ([], [1, 2])


@pytest.mark.parametrize("answer", [ran(W2, link=None, attempt=2), proved(Proof.DONE, W2, attempt=2)])
def test_a_newer_workflow_without_its_link_is_only_recorded(answer: Fact) -> None:
    """Nobody can use it, and the older one may be in use."""
    key = again_in_version_3()
    key.tell(answer)
    assert (key.replaced(), key.links(), key.phase) == ([], [1, -2], None)
    kept = key.issued()
    assert kept is not None
    assert (kept.workflow_id, kept.attempts, kept.doubt_at) == (W1, 2, None)
    assert key.tell(observed(W2)) == Decision()


def test_a_newer_workflow_that_belongs_to_another_request_is_never_taken() -> None:
    """One workflow, one request."""
    key = again_in_version_3()
    key.state[f"known/{W2}"] = KnownWorkflow("Y", FORGOTTEN)
    key.tell(ran(W2, attempt=2))
    assert (key.replaced(), key.links(), key.state[f"known/{W2}"]) == ([], [1, -2], KnownWorkflow("Y", FORGOTTEN))


@pytest.mark.parametrize("answer", [answered(Proof.UNKNOWN, attempt=2), answered(Proof.DONE, attempt=2)])
def test_a_newer_workflow_of_unknown_outcome_is_refused_after_the_window(answer: Fact) -> None:
    """It may run under an id that nobody told: what shows itself on the record is nobody's by itself then."""
    key = again_in_version_3()
    key.tell(answer)
    key.tell(observed(W2, at=key.now))
    assert (key.phase, len(key.ends()), f"seen/{W2}" in key.state) == (LaunchPhase.UNKNOWN, 1, True)
    key.wake()
    assert (key.links(), key.head, f"seen/{W2}" in key.state) == ([1, -2], None, True)
    kept = key.issued()
    assert kept is not None
    assert (kept.doubt_at, kept.has_candidates) == (T + HOUR_MS, False)
    key.tell(prepared("B"))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), observed(W3, at=key.now))
    assert key.ends("B") == []
    key.wake("issued/A")
    head = key.head
    assert head is not None
    assert (head.is_disputed, key.ends("B")) == (True, [])


def test_a_late_answer_of_a_newer_workflow_still_brings_its_link() -> None:
    """Unknown is not refused yet."""
    key = again_in_version_3()
    key.wake()
    key.tell(ran(W2, attempt=2))
    assert (key.replaced(), key.links()) == ([(W1, W2)], [1, 2])


def test_a_newer_workflow_after_the_deadline_is_only_recorded() -> None:
    """What served to issue one more link is gone."""
    key = again_in_version_3()
    key.wake("issued/A")
    key.tell(ran(W2, attempt=2))
    assert (key.replaced(), key.links(), key.issued()) == ([], [1, -2], None)
    assert f"known/{W2}" in key.state


def test_a_person_has_nothing_to_decide_about_a_link_whose_workflow_is_known() -> None:
    """Completion holds the request."""
    key = sent(V3)
    key.tell(ran())
    assert key.tell(decided(Resolution.GIVE_UP)).changes == {}


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_older_attempts_of_a_request_prove_says_nothing_about_one_more_link(attempt: int) -> None:
    """Of version 3 the workflow is recorded."""
    key = again_in_version_3()
    key.tell(answered(Proof.NOT_SENT, attempt=2))
    key.wake()
    key.permit()
    key.tell(proved(Proof.DONE, W2, attempt=attempt))
    assert (key.phase, key.replaced(), f"known/{W2}" in key.state) == (LaunchPhase.INTENT, [], True)


def test_the_case_tells_of_the_use_while_one_more_link_is_called() -> None:
    """An open call is answered first."""
    key = sent(prepared(name=CASED_LINK, api=ApiVersion.CASES))
    key.tell(linked(), asked(name=CASED_LINK))
    key.permit()
    key.tell(CaseRead("A", 1, Proof.DONE, W1, "RUNNING", None, ""))
    assert [(end.workflow_id, type(end)) for end in key.ends()] == [(W1, Started)]
    key.tell(linked(attempt=2))
    assert (key.links(), key.phase) == ([1, -2], None)


def test_a_lost_answer_of_one_more_link_does_not_shorten_the_wait() -> None:
    """It is issued again after the call has settled, and never after the deadline."""
    key = again()
    key.tell(linked(Proof.UNKNOWN, attempt=2), at=T + HOUR_MS + SECOND_MS)
    head = key.head
    assert head is not None
    assert head.timer is not None
    assert head.timer.due_at > T + HOUR_MS + 45 * SECOND_MS
    key = again()
    key.tell(linked(Proof.UNKNOWN, attempt=2), at=DEADLINE + DAY_MS + MINUTE_MS)
    assert (key.links(), key.phase) == ([1, -2], None)


def test_the_use_of_an_older_link_is_never_taken_for_that_of_another_request() -> None:
    """Whoever asked for one more link may have used both; what shows itself later is nobody's by itself."""
    key = again()
    key.tell(linked(attempt=2), observed(W1, at=key.now))
    assert [end.workflow_id for end in key.ends()] == [W1]
    key.tell(prepared("B", is_own=False, name=EXCLUSIVE))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), observed(W2, at=key.now))
    assert (key.ends("B"), key.phase) == ([], LaunchPhase.UNKNOWN)
    key.pass_time(AFTER)
    assert (len(key.ends("A")), key.state) == (1, {})


OVER = LinkOver(RECORD, "A")


def test_no_further_link_of_a_request_that_is_over() -> None:
    """A version 3 link would be one more execution: whoever has a result gets none, and is told so."""
    key = sent(V3)
    key.tell(ran(W1))
    key.tell(OVER)
    assert "issued/A" not in key.state
    decision = key.tell(asked())
    assert [type(output) for output in decision.outputs] == [Progressed]
    assert decision.wants_permit is None


def test_a_request_that_is_over_while_one_more_link_waits_for_its_turn() -> None:
    """It is refused at once, and nothing is called; a call that is open already is answered first."""
    key = sent(V3)
    key.tell(ran(W1))
    key.tell(asked(), at=T + HOUR_MS)
    decision = key.tell(OVER)
    assert [output.step for output in decision.outputs if isinstance(output, Progressed)] == [Step.LINK_REFUSED]
    assert key.head is None
    called = again_in_version_3()
    assert called.tell(OVER).outputs == ()
    late = called.tell(ran(W2, attempt=2))
    assert [type(output) for output in late.outputs] == [Progressed]
    assert called.head is None


def test_what_has_no_version_3_link_does_not_care() -> None:
    """A link of versions 1 and 2 is over when its workflow shows itself, which launch sees itself."""
    key = sent(prepared(name=LINKED))
    key.tell(linked())
    assert key.tell(OVER) == Decision()
