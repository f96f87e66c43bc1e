"""A deadline of years, from the request through its launch: whatever stands for it has an end."""

from collections.abc import Callable

import pytest

from processor.core.launch import Launch
from processor.core.messages import Finished
from processor.core.model import DAY_MS, Instant, Outcome
from processor.core.proof import Proof
from tests.core.lanes import CATALOGUE, NOW, Lane, arrived, named
from tests.core.launching import Key, answered, linked

YEAR_9999: Instant = 253_370_764_800_000


def kept_until(lane: Lane, key: Key) -> Instant:
    """Return when the last part of a lane and a launch key goes, if nothing comes any more."""
    parts = [*lane.state.values(), *key.state.values()]
    assert all(part.timer for part in parts), "a part without a timer stays for ever"
    return max(part.timer.due_at for part in parts if part.timer)


def launched(workflow: str) -> tuple[Lane, Key]:
    """Return lane and launch key of a request with a deadline of years, which waits for its permit."""
    lane, key = Lane(), Key(Launch(CATALOGUE))
    lane.told(arrived(named("A", workflow=workflow, deadline_at=YEAR_9999)))
    if not lane.prepared():
        lane.done("rec-1")
    key.tell(*lane.prepared(), at=NOW)
    return lane, key


@pytest.mark.parametrize(
    "workflow, go_on",
    [
        ("bare", lambda _: None),
        ("bare", lambda key: (key.permit(), key.tell(answered(Proof.DONE, "w-1")))),
        ("bare", lambda key: (key.permit(), key.tell(answered(Proof.UNKNOWN)), key.wake())),
        ("linked", lambda key: (key.permit(), key.tell(linked()))),
    ],
    ids=["waiting", "started", "held", "with a link"],
)
def test_nothing_of_a_request_is_kept_for_years(workflow: str, go_on: Callable[[Key], object]) -> None:
    """Of its deadline 90 days count; what it leaves is gone 9 days after that, whatever became of it."""
    lane, key = launched(workflow)
    go_on(key)
    assert kept_until(lane, key) <= NOW + 99 * DAY_MS
    key.pass_time(NOW + 90 * DAY_MS)
    assert key.ends(), "the request has neither a result nor a start"
    key.pass_time(NOW + 99 * DAY_MS)
    assert key.state == {}


def test_a_request_ends_before_anybody_forgets_its_id() -> None:
    """With a deadline of years it expires after 90 days, while its lane knows duplicates for 8 more."""
    lane, key = launched("bare")
    key.pass_time(NOW + 90 * DAY_MS - 1)
    assert key.ends() == []
    key.pass_time(NOW + 90 * DAY_MS)
    (end,) = key.ends()
    assert isinstance(end, Finished)
    assert end.outcome is Outcome.EXPIRED
    again = lane.told(arrived(named("A", workflow="bare", deadline_at=YEAR_9999)), now=NOW + 98 * DAY_MS - 1)
    assert (again.outputs, again.changes) == ((), {})
