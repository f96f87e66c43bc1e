"""A request whose end user has a link: which workflow is its run, and how it ends without one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from processor.core.adoption import Claim, adoption, superseded
from processor.core.launch import Fact
from processor.core.messages import DeadLettered, Finished, Observed, Prepared, Progressed, Resolution, Started, Step
from processor.core.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Outcome, Reason, StartInputs, Timer, Witness
from processor.core.proof import Proof
from processor.core.state import Candidate, Decision, GaveUp, KnownWorkflow, LaunchPhase
from tests.core.launching import (
    AFTER,
    BY_REFERENCE,
    CHECK,
    DEADLINE,
    EXCLUSIVE,
    FORGOTTEN,
    LINKED,
    MAILED,
    NEWEST,
    RECORD,
    UNADOPTED,
    W1,
    W2,
    Key,
    T,
    answered,
    decided,
    held,
    issued,
    linked,
    observed,
    prepared,
    sent,
    unknown,
)

LINK = prepared(name=LINKED)
USED = Started(LINK.origin, W1, RECORD, None, "RUNNING", T, Witness.WEBHOOK, attempts=1, revision=1)


def two_links(name: str = LINKED, *, is_own: bool = True) -> Key:
    """Return a key of a record for which A and, a minute later, B have a link; A made the record."""
    key = issued(prepared(name=name, is_own=is_own))
    key.tell(prepared("B", is_own=False, name=name), at=T + MINUTE_MS)
    key.permit()
    key.tell(linked(request_id="B"))
    assert key.issued("B") is not None
    return key


def test_a_workflow_on_its_record_starts_a_request_whose_end_user_has_a_link() -> None:
    """That is the normal way: no answer of these calls names the workflow."""
    key = issued()
    assert key.tell(observed()) == Decision(
        {f"known/{W1}": KnownWorkflow("A", FORGOTTEN), "issued/A": None},
        outputs=(USED, Progressed(LINK.origin, Step.STARTED, T + SECOND_MS, W1, 1)),
    )
    assert key.tell(observed(), linked()) == Decision()


@pytest.mark.parametrize("seconds, is_its_run", [(-121, False), (-120, True), (0, True), (3 * 86_400, True)])
def test_a_workflow_from_before_the_link_is_another_run(seconds: int, *, is_its_run: bool) -> None:
    """Two minutes are left for clocks that differ; the end user may take days."""
    key = issued()
    key.tell(observed(at=T + seconds * SECOND_MS))
    assert (key.issued() is None) is is_its_run
    assert f"seen/{W1}" not in key.state


def test_a_use_that_is_seen_before_the_answer_of_the_link_waits_for_it() -> None:
    """A webhook may overtake the answer."""
    key = sent(LINK)
    assert key.tell(observed()).outputs == ()
    key.tell(linked())
    assert (key.links(), [end.workflow_id for end in key.ends()]) == ([1], [W1])


def test_a_link_that_nobody_used_expires_and_a_late_use_amends_that() -> None:
    """The webhook may be late or lost; what came of it is told once more."""
    key = issued()
    decision = key.wake("issued/A")
    (result,) = decision.outputs
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason, result.started_at, result.attempts, result.candidates) == (
        Outcome.EXPIRED,
        Reason.DEADLINE_PASSED,
        T,
        1,
        (),
    )
    gave_up = GaveUp(LINK, T, 1, Timer(DEADLINE + 8 * DAY_MS, is_behind_evidence=True), link_at=T)
    assert decision.changes == {"issued/A": None, "gave/A": gave_up}
    key.tell(observed(at=DEADLINE + DAY_MS))
    assert key.ends()[1:] == [replace(USED, revision=2)]
    key.pass_time(AFTER)
    assert key.state == {}


@pytest.mark.parametrize("reach", [issued, held])
def test_what_a_call_carried_of_a_person_is_forgotten_with_the_last_call(reach: Callable[[Prepared], Key]) -> None:
    """One more link needs it, an amendment does not."""
    key = reach(replace(LINK if reach is issued else prepared(), inputs=StartInputs(email="a@b.test")))
    key.tell(decided(Resolution.GIVE_UP))
    gave_up = key.state["gave/A"]
    assert isinstance(gave_up, GaveUp)
    assert gave_up.prepared.inputs is None


def test_a_use_of_a_record_that_others_may_use_is_shown_to_a_person() -> None:
    """It stands on the held list and, if nobody decides, in the result."""
    request_on_it = prepared(name=LINKED, is_own=False)
    key = issued(request_on_it)
    key.tell(observed())
    kept = key.issued()
    assert kept is not None
    assert (kept.has_candidates, key.state[f"seen/{W1}"]) == (True, Candidate(observed(), None))
    decided_key, ended = key.copy(), key.copy()
    decided_key.tell(decided(Resolution.STARTED, W1))
    assert decided_key.ends() == [replace(USED, origin=request_on_it.origin, told_by=Witness.OPERATOR, status=None)]
    assert set(decided_key.parts()) == {f"known/{W1}"}
    ended.wake("issued/A")
    assert [end.candidates for end in ended.ends()] == [(W1,)]


def test_what_is_seen_first_on_a_record_of_two_links_belongs_to_neither_by_itself() -> None:
    """Either end user may have used theirs; both requests are shown to a person."""
    key = two_links()
    key.tell(observed(at=key.now))
    assert (key.ends(), key.ends("B")) == ([], [])
    kept = [key.issued("A"), key.issued("B")]
    assert [part is not None and part.has_candidates for part in kept] == [True, True]
    key.tell(decided(Resolution.STARTED, W1, request_id="B"))
    assert [end.workflow_id for end in key.ends("B")] == [W1]
    left = key.issued("A")
    assert left is not None
    assert not left.has_candidates
    key.tell(observed(W2, at=key.now))
    assert [end.workflow_id for end in key.ends("A")] == [W2]


def test_of_two_links_the_one_is_left_that_was_there_alone_when_the_workflow_showed_itself() -> None:
    """Less two minutes for the clocks."""
    key = issued()
    key.tell(prepared("B", is_own=False, name=LINKED), at=T + HOUR_MS)
    key.permit()
    key.tell(linked(request_id="B"))
    key.tell(observed(at=T + HOUR_MS - 3 * MINUTE_MS))
    assert [end.workflow_id for end in key.ends()] == [W1]


def test_our_own_reference_tells_two_links_apart() -> None:
    """It fits the request that it names and no other, and needs no ownness."""
    key = two_links(is_own=False)
    key.tell(observed(names="B"))
    assert ([end.workflow_id for end in key.ends("B")], key.ends("A")) == ([W1], [])
    key.tell(observed(W2, at=key.now, names="A"))
    assert [end.workflow_id for end in key.ends("A")] == [W2]


@pytest.mark.parametrize(
    "forged",
    [
        replace(observed(names="A"), record_id="another"),
        replace(observed(names="A"), provider="branch"),
        observed(at=T - 2 * MINUTE_MS - 1, names="A"),
    ],
    ids=["another record", "another profile", "older than the request"],
)
@pytest.mark.parametrize("name", [CHECK, BY_REFERENCE])
def test_a_copied_reference_moves_nobodys_custody(name: str, forged: Observed) -> None:
    """What shows another record or profile, or was there before the request, is not its run whomever it names."""
    key = unknown(prepared(name=name))
    key.tell(forged)
    assert (key.phase, key.ends(), f"seen/{W1}" in key.state) == (LaunchPhase.UNKNOWN, [], False)
    key.tell(observed(W2, at=T - 2 * MINUTE_MS, names="A"))
    assert [end.workflow_id for end in key.ends()] == [W2]


def test_the_newest_link_alone_counts_where_the_catalogue_says_so() -> None:
    """What came after its intent is its own; what came before may be the older one's."""
    key = two_links(NEWEST)
    older, newer = key.copy(), key.copy()
    newer.tell(observed(at=T + MINUTE_MS))
    assert (newer.ends("A"), newer.ends("B")) == ([], [])  # The record is not B's own, and no more A's.
    kept = [newer.issued("A"), newer.issued("B")]
    assert [part is not None and part.has_candidates for part in kept] == [False, True]
    older.tell(observed(at=T - 90 * SECOND_MS))
    assert [end.workflow_id for end in older.ends("A")] == [W1]


def test_the_newest_link_adopts_by_itself_on_a_record_that_is_declared_exclusive() -> None:
    """Nobody else starts workflows there."""
    key = two_links(NEWEST)
    workflow = replace(key.launch.catalogue.workflows[NEWEST], is_exclusive=True)
    key.launch = replace(key.launch, catalogue=replace(key.launch.catalogue, workflows={NEWEST: workflow}))
    key.tell(observed(at=T + MINUTE_MS))
    assert ([end.workflow_id for end in key.ends("B")], key.ends("A")) == ([W1], [])
    key.tell(observed(W2, at=T + 2 * MINUTE_MS))  # B has its run, and nobody but A is left.
    assert [end.workflow_id for end in key.ends("A")] == [W2]


@pytest.mark.parametrize(
    "links, until",
    [
        ([("a", 1), ("a", 2), ("a", 3)], [2, 3, None]),
        ([("a", 3), ("a", 1)], [None, 3]),
        ([("a", 1), ("b", 2)], [None, None]),
        ([("a", 1), (None, 2)], [None, None]),
        ([(None, 1), (None, 2)], [None, None]),
        ([("a", 1), ("a", 1)], [None, None]),
        ([("a", None), ("a", 1)], [None, None]),
    ],
)
def test_a_link_counts_until_the_next_newer_one_of_its_definition(
    links: list[tuple[str | None, int | None]], until: list[int | None]
) -> None:
    """Only where the catalogue says so, and only for what has a link."""
    claims = [
        Claim(prepared(str(number)), 0, is_adopting=True, link_at=link_at, newest_of=newest_of)
        for number, (newest_of, link_at) in enumerate(links)
    ]
    assert [claim.until for claim in superseded(claims)] == until


@pytest.mark.parametrize("name, is_adopted", [(EXCLUSIVE, True), (CHECK, False), (BY_REFERENCE, False)])
def test_a_run_on_a_shared_record_is_adopted_by_itself_where_it_is_declared_exclusive(
    name: str, *, is_adopted: bool
) -> None:
    """Elsewhere somebody else may have started what was seen."""
    key = unknown(prepared(is_own=False, name=name))
    key.tell(observed())
    assert (key.phase is None) is is_adopted


@pytest.mark.parametrize(
    "request_on_it, is_adopted",
    [
        (prepared(name=BY_REFERENCE, is_own=False), True),
        (prepared(is_own=False), True),
        (replace(prepared(name=BY_REFERENCE), record_id=None), True),
        (prepared(name=UNADOPTED), False),
    ],
)
def test_our_own_reference_adopts_by_itself_unless_the_catalogue_adopts_nothing(
    request_on_it: Prepared, *, is_adopted: bool
) -> None:
    """Needs neither a record nor that it is ours; of `none` the candidate is shown."""
    key = held(request_on_it)
    key.tell(observed(names="A"))
    assert (key.phase is None) is is_adopted
    assert (f"seen/{W1}" in key.state) is not is_adopted


@pytest.mark.parametrize("key", [unknown(), held(), issued(), Key()])
def test_what_names_another_request_is_nobodys_here(key: Key) -> None:
    """Whatever record it shows."""
    assert key.copy().tell(observed(names="Z")) == Decision()


def test_of_two_workflows_the_one_that_names_the_request_is_its_run() -> None:
    """Two that name it are ambiguous: a person decides."""
    key = sent(prepared(name=BY_REFERENCE))
    key.tell(observed(W1), observed(W2, names="A"))
    two = key.copy()
    key.tell(answered(Proof.UNKNOWN))
    assert [end.workflow_id for end in key.ends()] == [W2]
    two.tell(observed("w-3", names="A"), answered(Proof.UNKNOWN))
    assert (two.phase, two.ends()) == (LaunchPhase.UNKNOWN, [])


@pytest.mark.parametrize("proof", [Proof.NOT_SENT, Proof.WAIT, Proof.OUR_FAULT, Proof.REFUSED])
def test_what_names_a_request_wins_over_an_answer_that_said_it_did_not_run(proof: Proof) -> None:
    """A workflow is never knowingly run twice."""
    key = sent()
    key.tell(answered(proof))
    decision = key.tell(observed(names="A"))
    assert ([end.workflow_id for end in key.ends()], decision.wants_permit) == ([W1], None)


def test_what_names_a_request_adopts_also_where_its_record_is_disputed() -> None:
    """Ending another request left open whose the traces on the record are, but not whose this one is."""
    key = sent()
    head = key.head
    assert head is not None
    key.state["head"] = replace(head, is_disputed=True)
    key.tell(answered(Proof.UNKNOWN), observed())
    assert key.phase is LaunchPhase.UNKNOWN
    key.tell(observed(W2, names="A"))
    assert [end.workflow_id for end in key.ends()] == [W2]


def test_a_name_stays_with_a_workflow_that_is_seen_again_without_it() -> None:
    """The earliest webhook counts, and whom any of them named."""
    key = two_links(is_own=False)
    key.tell(replace(observed(at=key.now), record_id=None))
    key.tell(observed(at=key.now + MINUTE_MS, names="B"))
    assert ([end.workflow_id for end in key.ends("B")], key.ends("A")) == ([W1], [])


def test_an_issued_link_competes_for_what_the_next_request_may_have_run() -> None:
    """One workflow fits both, so neither gets it by itself."""
    key = issued()
    key.tell(prepared("B", is_own=False))
    key.permit()
    key.tell(answered(Proof.UNKNOWN, request_id="B"), observed(at=key.now))
    assert (key.ends("A"), key.ends("B"), key.phase) == ([], [], LaunchPhase.UNKNOWN)
    by_answer, refused = key.copy(), key.copy()
    by_answer.tell(answered(Proof.DONE, W1, request_id="B"))
    assert (by_answer.ends("A"), [end.workflow_id for end in by_answer.ends("B")]) == ([], [W1])
    refused.tell(answered(Proof.NOT_SENT, request_id="B"))
    assert [end.workflow_id for end in refused.ends("A")] == [W1]


def test_ending_a_link_makes_no_trace_unambiguous_for_another() -> None:
    """Its claim outlives its result; when that is forgotten too, what it may have started stays open for good."""
    key = two_links()
    key.tell(observed(at=key.now), observed(W2, at=key.now))
    key.tell(decided(Resolution.GIVE_UP, request_id="B"))
    assert key.ends("A") == []
    key.wake("gave/B")
    kept = key.issued()
    assert kept is not None
    assert (kept.is_disputed, kept.has_candidates, key.ends("A")) == (True, True, [])


def test_a_person_may_give_up_on_a_link() -> None:
    """A late use still amends that."""
    key = issued()
    key.tell(decided(Resolution.GIVE_UP))
    (result,) = key.ends()
    assert isinstance(result, Finished)
    assert (result.outcome, result.reason) == (Outcome.UNDETERMINED, Reason.GIVEN_UP)
    key.tell(observed())
    assert key.ends()[1:] == [replace(USED, revision=2)]


@pytest.mark.parametrize(
    "fact",
    [
        decided(Resolution.NOT_EXECUTED),
        decided(Resolution.STARTED, W1, attempt=2),
        decided(Resolution.GIVE_UP, attempt=0),
        decided(Resolution.STARTED),
        decided(Resolution.STARTED, W2),
        decided(Resolution.GIVE_UP, request_id="Z"),
    ],
)
@pytest.mark.parametrize("behind", [None, *LaunchPhase])
def test_a_decision_about_a_link_that_does_not_fit_is_refused_visibly(fact: Fact, behind: LaunchPhase | None) -> None:
    """Another attempt, another request, nothing named, or a workflow that is claimed: wherever the next one stands."""
    key = issued()
    key.state[f"known/{W2}"] = KnownWorkflow("Y", FORGOTTEN)
    if behind is not None:
        head = sent().head
        assert head is not None
        origin = replace(head.prepared.origin, request_id="B")
        key.state["head"] = replace(head, phase=behind, prepared=replace(head.prepared, origin=origin))
    decision = key.launch.decide(key.state, fact, key.now)
    assert decision.changes == {}
    assert [type(output) for output in decision.outputs] == [DeadLettered]


@pytest.mark.parametrize("behind", [LaunchPhase.UNKNOWN, LaunchPhase.READY, LaunchPhase.INTENT])
def test_a_decision_about_a_link_counts_wherever_the_next_request_stands(behind: LaunchPhase) -> None:
    """Both are of one record; the request id says which is meant."""
    key = issued()
    key.tell(prepared("B", is_own=False, name=CHECK))
    if behind is not LaunchPhase.READY:
        key.permit()
    if behind is LaunchPhase.UNKNOWN:
        key.tell(answered(Proof.UNKNOWN, request_id="B"))
    assert key.phase is behind
    key.tell(decided(Resolution.STARTED, W1))
    assert ([end.workflow_id for end in key.ends()], key.phase) == ([W1], behind)


def test_candidates_of_a_link_are_bounded_too() -> None:
    """Sixteen a key, the newest."""
    key = issued(prepared(name=LINKED, is_own=False))
    for number in range(20):
        key.tell(observed(f"w-{number:02}", at=T + number))
    assert len([name for name in key.state if name.startswith("seen/")]) == 16


def test_only_an_adopting_claim_adopts() -> None:
    """A claim that may not, shows what fits it and blocks others; one of the same request blocks nothing."""
    own, other = prepared("A"), prepared("B")
    claims = [Claim(own, T, is_adopting=False), Claim(own, T, is_adopting=True, is_alone=True)]
    assert adoption(claims, [observed()], 0) == (claims[1], observed())
    assert adoption([*claims, Claim(other, T, is_adopting=False)], [observed()], 0) is None
    assert adoption([Claim(own, T, is_adopting=True)], [observed()], 0) is None


def test_a_mail_of_unknown_outcome_is_a_link_too_when_links_are_compared() -> None:
    """What may be out with an end user has the time of its intent."""
    key = held(prepared(name=MAILED))
    key.tell(decided(Resolution.GIVE_UP))
    gave_up = key.state["gave/A"]
    assert isinstance(gave_up, GaveUp)
    assert gave_up.link_at == T
