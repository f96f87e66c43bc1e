"""Samples in the order of their delivery: what a consumer must have at the end, whatever comes twice."""

from collections.abc import Sequence

from tests.contracts.kit.sample import Delivery, Story


def stories() -> Sequence[Story]:
    """Return all stories of the kit."""
    well, late = "kit-completed-by-webhook", "kit-expired-before-end"
    expired, amended = Delivery("expired-before-end"), Delivery("amended-to-completed")
    completed = Delivery("completed-by-webhook")
    return (
        Story("one-result", "A request and its result.", [completed], [(well, 1)], {well: "COMPLETED"}),
        Story(
            "your-own-crash",
            "You stopped after acting and before your offset was committed: the same record comes again.",
            [completed, completed],
            [(well, 1)],
            {well: "COMPLETED"},
        ),
        Story(
            "amended",
            "The deadline passed, then the real outcome came.",
            [expired, amended],
            [(late, 1), (late, 2)],
            {late: "COMPLETED"},
        ),
        Story(
            "amended-and-read-again",
            "You read the topic once more from an older offset: revision 1 must not take the place of revision 2.",
            [expired, amended, expired, amended],
            [(late, 1), (late, 2)],
            {late: "COMPLETED"},
        ),
        Story(
            "aborted",
            "A transaction was aborted, and its request decided anew: a reader of uncommitted records sees both.",
            [Delivery("phantom-of-completed-by-webhook", is_aborted=True), completed],
            [(well, 1)],
            {well: "COMPLETED"},
        ),
        Story(
            "newer-build",
            "A newer build writes a word that you do not know; what comes behind it is served all the same.",
            [Delivery("newer-outcome"), completed],
            [("kit-newer-outcome", 1), (well, 1)],
            {"kit-newer-outcome": "UNRECOGNIZED", well: "COMPLETED"},
        ),
    )
