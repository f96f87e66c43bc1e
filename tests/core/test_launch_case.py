"""The case as a witness: in version 1 a read of a request's own case shows the workflow that ran for it."""

from dataclasses import replace

import pytest

from processor.core.launch import Fact, Launch
from processor.core.messages import CaseRead, Finished, Prepared, ReadCase, Resolution
from processor.core.model import MINUTE_MS, SECOND_MS, ApiVersion, Instant, Outcome, Timer, Witness
from processor.core.proof import Proof
from processor.core.schedule import next_poll_at
from processor.core.state import Decision, GaveUp, LaunchPhase
from tests.core.launching import (
    CASED,
    CASED_LINK,
    CHECK,
    DEADLINE,
    RECORD,
    UNADOPTED,
    W1,
    W2,
    WINDOW,
    Key,
    T,
    answered,
    asked,
    decided,
    issued,
    observed,
    prepared,
    sent,
    unknown,
)

RUN = prepared(name=CASED, api=ApiVersion.CASES)
LINK = prepared(name=CASED_LINK, api=ApiVersion.CASES)
READ = ReadCase(CASED, "A", RECORD, 1)


def shows(workflow_id: str | None = W1, *, request_id: str = "A") -> CaseRead:
    """Return that a read of the case showed a workflow, or none."""
    return CaseRead(request_id, 1, Proof.DONE, workflow_id, "RUNNING" if workflow_id else None, None, "")


def poll_at(now: Instant, reads: int) -> Instant:
    """Return when the case is read next."""
    return next_poll_at(now, reads, seed="A", first_ms=5 * SECOND_MS, max_ms=5 * MINUTE_MS)


def timer_of(key: Key, part: str = "head") -> Timer:
    """Return what wakes a part."""
    timer = key.state[part].timer
    assert timer is not None
    return timer


def test_the_case_of_an_unknown_run_is_read_again_and_again_until_the_window_closes() -> None:
    """Each read in vain doubles the wait; the window closes at its own time, behind evidence."""
    key = unknown(RUN)
    opened = key.now
    due_at = poll_at(opened, 0)
    assert timer_of(key) == Timer(due_at)
    for reads in range(1, 9):
        assert key.wake().calls == (READ,)
        assert key.tell(shows(None)) == Decision()
        due_at = poll_at(key.now, reads)
        if due_at >= opened + WINDOW:
            break
        assert timer_of(key) == Timer(due_at)
    assert timer_of(key) == Timer(opened + WINDOW, is_behind_evidence=True)
    key.wake()
    assert (key.phase, timer_of(key).is_behind_evidence) == (LaunchPhase.HELD, False)


def test_the_case_of_a_held_request_is_read_until_its_deadline() -> None:
    """A person has not decided yet, and the case may still tell."""
    key = held_by_reads()
    while not timer_of(key).is_behind_evidence:
        assert key.wake().calls == (READ,)
    assert timer_of(key) == Timer(DEADLINE, is_behind_evidence=True)
    key.wake()
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert result.outcome is Outcome.UNDETERMINED


def held_by_reads() -> Key:
    """Return a key whose request is held although its case was read."""
    key = unknown(RUN)
    while key.phase is LaunchPhase.UNKNOWN:
        key.wake()
    return key


@pytest.mark.parametrize("reach", [lambda: unknown(RUN), held_by_reads])
def test_a_case_that_shows_a_workflow_starts_its_request(reach: type) -> None:
    """It was made for this request, so what ran on it is its run; a poll told."""
    key = reach()
    key.tell(shows())
    (started,) = key.ends()
    assert (started.workflow_id, getattr(started, "told_by", None), started.status) == (W1, Witness.POLL, "RUNNING")
    assert set(key.parts()) == {f"known/{W1}"}


@pytest.mark.parametrize(
    "request_read",
    [
        replace(RUN, is_own=False),
        prepared(name=CHECK, api=ApiVersion.CASES),
        prepared(name=CASED),
        prepared(name=UNADOPTED, api=ApiVersion.CASES),
    ],
)
def test_a_case_is_read_only_where_it_can_tell(request_read: Prepared) -> None:
    """Made for this request, in version 1, with a path to the workflow, and not where nothing is adopted."""
    key = unknown(request_read)
    if request_read.origin.workflow == UNADOPTED:
        workflow = replace(key.launch.catalogue.workflows[UNADOPTED], case_workflow_path="workflowId")
        key.launch = Launch(replace(key.launch.catalogue, workflows={UNADOPTED: workflow}))
        key = relaunched(key, request_read)
    assert timer_of(key).is_behind_evidence
    assert key.tell(shows()) == Decision()


def relaunched(key: Key, request_read: Prepared) -> Key:
    """Return a key of the same catalogue whose request's call has an unknown outcome."""
    other = Key(key.launch)
    other.tell(request_read)
    other.permit()
    other.tell(answered(Proof.UNKNOWN))
    return other


def test_a_catalogue_that_loses_the_path_closes_the_window_in_time() -> None:
    """No read any more, and no wait for one."""
    key = unknown(RUN)
    opened = key.now
    key.launch = Launch(replace(key.launch.catalogue, workflows={}))
    assert key.wake().calls == ()
    assert timer_of(key) == Timer(opened + WINDOW, is_behind_evidence=True)


@pytest.mark.parametrize(
    "fact", [shows(None), shows(" "), shows(request_id="Z"), replace(shows(None), proof=Proof.UNKNOWN)]
)
def test_a_read_that_shows_nothing_changes_nothing(fact: Fact) -> None:
    """The next one is due by its timer, whatever became of this one."""
    assert unknown(RUN).tell(fact) == Decision()


def test_a_workflow_of_another_request_that_the_case_shows_is_left_alone() -> None:
    """The first claim stands."""
    key = unknown(RUN)
    key.tell(replace(prepared("B", api=ApiVersion.CASES), is_own=False), decided(Resolution.STARTED, W1))
    key.permit()
    assert key.tell(shows(request_id="B")) == Decision()
    assert key.tell(shows()) == Decision()


def test_an_old_read_tells_a_request_that_is_not_sent_again_yet() -> None:
    """A trace of an attempt that a person ruled out wins."""
    key = unknown(RUN)
    key.tell(decided(Resolution.NOT_EXECUTED))
    decision = key.tell(shows())
    assert ([end.workflow_id for end in key.ends()], decision.wants_permit) == ([W1], None)


def test_what_the_case_shows_while_the_next_attempt_is_open_waits_for_its_answer() -> None:
    """It may be the run of either."""
    key = unknown(RUN)
    key.tell(decided(Resolution.NOT_EXECUTED))
    key.permit()
    key.tell(shows())
    assert key.ends() == []
    key.tell(answered(Proof.NOT_SENT, attempt=2))
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_a_case_that_shows_another_workflow_than_was_seen_is_ambiguous() -> None:
    """Two fit one request: a person decides."""
    key = sent(RUN)
    key.tell(replace(observed(W2), record_id=None, case_id=RECORD), shows(), answered(Proof.UNKNOWN))
    assert (key.phase, f"seen/{W1}" in key.state, f"seen/{W2}" in key.state) == (LaunchPhase.UNKNOWN, True, True)


def test_what_a_webhook_showed_first_is_told_by_it() -> None:
    """The earlier of two traces of one workflow counts."""
    key = sent(RUN)
    key.tell(replace(observed(at=T), record_id=None, case_id=RECORD), shows(), answered(Proof.UNKNOWN))
    assert [getattr(end, "told_by", None) for end in key.ends()] == [Witness.WEBHOOK]


def test_the_case_of_a_request_whose_end_user_has_a_link_is_read_too() -> None:
    """The webhook that would tell of its use may be lost."""
    key = issued(LINK)
    assert timer_of(key, "issued/A") == Timer(poll_at(key.now, 0))
    assert key.wake("issued/A").calls == (replace(READ, workflow=CASED_LINK),)
    assert timer_of(key, "issued/A") == Timer(poll_at(key.now, 1))
    key.tell(shows())
    assert [(end.workflow_id, getattr(end, "told_by", None)) for end in key.ends()] == [(W1, Witness.POLL)]


def test_a_link_whose_case_shows_nothing_expires_behind_evidence() -> None:
    """A read that is due late never ends the request."""
    key = issued(LINK)
    key.now = DEADLINE + MINUTE_MS
    assert len(key.wake("issued/A").calls) == 1
    assert (key.ends(), timer_of(key, "issued/A")) == ([], Timer(DEADLINE, is_behind_evidence=True))
    key.wake("issued/A")
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert result.outcome is Outcome.EXPIRED
    key.tell(shows())
    assert [end.revision for end in key.ends()] == [1, 2]
    assert not any(isinstance(part, GaveUp) for part in key.state.values())


@pytest.mark.parametrize("is_called", [False, True])
def test_a_case_is_not_read_while_another_call_of_its_key_is_open(*, is_called: bool) -> None:
    """A permit that is wanted would be lost for it; the next read comes in time."""
    key = issued(LINK)
    key.tell(asked(name=CASED_LINK))
    if is_called:
        key.permit()
    assert key.wake("issued/A").calls == ()
    assert not timer_of(key, "issued/A").is_behind_evidence


def test_no_case_is_read_of_a_request_that_has_ended() -> None:
    """Its result can still be amended by what shows itself."""
    key = held_by_reads()
    key.tell(decided(Resolution.GIVE_UP))
    assert timer_of(key, "gave/A").is_behind_evidence


def test_a_case_shows_what_ran_at_the_provider_of_its_request() -> None:
    """What a read shows counts for the profile that was asked."""
    key = unknown(replace(RUN, is_own=True, origin=replace(RUN.origin, provider="branch")))
    key.tell(shows())
    assert [end.workflow_id for end in key.ends()] == [W1]
