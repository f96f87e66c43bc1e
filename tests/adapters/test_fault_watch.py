"""The fault watch: one bad request, or a fault of ours."""

from processor.adapters.fault_watch import FaultWatch, Suspect, Verdict
from processor.core.proof import Operation

RECORD, RUN = Operation.CREATE_RECORD, Operation.RUN
GENUINE, OURS = False, True


def suspect(number: int, workflow: str = "check", operation: Operation = RECORD) -> Suspect:
    return Suspect(workflow, operation, f"request-{number}")


def watch(remembered_max: int = 100) -> FaultWatch[str]:
    return FaultWatch(refusals_max=3, quiet_ms=10_000, remembered_max=remembered_max)


def refused(one: FaultWatch[str], *numbers: int, now: int = 0) -> list[bool]:
    """Refuse requests and let somebody wait for each verdict; returns whether there were too many after each."""
    too_many = []
    for number in numbers:
        too_many.append(one.refused(suspect(number), now))
        one.judge(suspect(number), f"waiter-{number}", now)
    return too_many


def told(verdicts: tuple[Verdict[str], ...]) -> dict[str, bool]:
    return {verdict.waiter: verdict.is_our_fault for verdict in verdicts}


def test_a_success_finds_suspects_genuine() -> None:
    """The same call works for others, so the refused requests are to blame."""
    one = watch()
    refused(one, 1, 2)
    assert told(one.succeeded("check", RECORD)) == {"waiter-1": GENUINE, "waiter-2": GENUINE}
    assert one.succeeded("check", RECORD) == ()


def test_a_success_of_another_operation_or_workflow_says_nothing() -> None:
    """A record can be made although the run is refused."""
    one = watch()
    refused(one, 1)
    assert one.succeeded("check", RUN) == one.succeeded("other", RECORD) == ()
    assert one.suspects() == {("check", RECORD): 1}


def test_many_in_a_row_are_our_own_fault() -> None:
    """The third different request in a row is too many; all of them are excused."""
    one = watch()
    assert refused(one, 1, 2, 3) == [False, False, True]
    assert told(one.condemn("check")) == {"waiter-1": OURS, "waiter-2": OURS, "waiter-3": OURS}
    assert one.suspects() == {}


def test_the_same_request_counts_once() -> None:
    """One bad request, however often refused, is no row."""
    one = watch()
    assert refused(one, 1, 1, 1, 1) == [False] * 4


def test_a_success_between_ends_the_row() -> None:
    """Counting begins anew."""
    one = watch()
    refused(one, 1, 2)
    one.succeeded("check", RECORD)
    assert refused(one, 3, 4) == [False, False]


def test_silence_finds_suspects_genuine() -> None:
    """Ten seconds after the last refusal nothing more is expected; each new refusal begins the wait anew."""
    one = watch()
    refused(one, 1, now=0)
    refused(one, 2, now=9_000)
    assert one.sweep(18_999) == ()
    assert told(one.sweep(19_000)) == {"waiter-1": GENUINE, "waiter-2": GENUINE}


def test_a_verdict_that_comes_before_the_question_is_remembered() -> None:
    """The question is asked only after a commit; by then the answer may be known."""
    one = watch()
    one.refused(suspect(1), 0)
    one.succeeded("check", RECORD)
    one.refused(suspect(2), 0)
    one.condemn("check")
    one.excuse(suspect(3))
    assert [one.judge(suspect(number), "waiter", 0) for number in (1, 2, 3)] == [GENUINE, OURS, OURS]


def test_a_remembered_verdict_counts_for_its_refusal_only() -> None:
    """Refused again, the request is suspect again."""
    one = watch()
    one.excuse(suspect(1))
    one.refused(suspect(1), 0)
    assert one.judge(suspect(1), "waiter", 0) is None


def test_a_question_about_an_unseen_refusal_counts_as_one() -> None:
    """A new owner asks for what its predecessor saw; many of those are our own fault as well."""
    one = watch()
    for number in (1, 2, 3):
        assert one.judge(suspect(number), f"waiter-{number}", 0) is None
    assert one.is_too_many("check", RECORD)


def test_who_stops_waiting_is_told_nothing() -> None:
    """The refusal still counts, and its verdict is kept for who asks next."""
    one = watch()
    refused(one, 1)
    one.drop(suspect(1), "waiter-1")
    assert one.succeeded("check", RECORD) == ()
    assert one.judge(suspect(1), "another", 0) is GENUINE


def test_what_is_remembered_is_bounded() -> None:
    """Verdicts that nobody asks for push out the oldest; who asks for one of those is suspect again."""
    one = watch(remembered_max=2)
    for number in (1, 2, 3):
        one.excuse(suspect(number))
    assert [one.judge(suspect(number), "waiter", 0) for number in (3, 2, 1)] == [OURS, OURS, None]
