"""What the broker says about topics, and what a process makes of it before it begins."""

import pytest

from processor.errors import SettingsInvalid
from processor.roles.prerequisites import counts_allowed

COUNTS = {"requests": 12, "control": 1}


def test_topics_that_we_may_use_have_their_counts() -> None:
    """Nothing is refused and nothing lacks."""
    assert counts_allowed(COUNTS, []) == COUNTS


@pytest.mark.parametrize(
    "counts, lacking, told",
    [
        (COUNTS, ["Write on topic control"], "Write on topic control"),
        ({**COUNTS, "requests": None}, ["Read on topic requests"], "Read on topic requests"),
        ({**COUNTS, "requests": None}, [], "Describe on topic requests"),
    ],
)
def test_a_topic_that_is_refused_is_told_also_where_the_broker_does_not_say_which_right_lacks(
    counts: dict[str, int | None], lacking: list[str], told: str
) -> None:
    """It may be too slow to say; whoever waits for a right is told, and goes on when it is granted."""
    with pytest.raises(SettingsInvalid, match=f"^our user has no right to {told}: see "):
        counts_allowed(counts, lacking)
