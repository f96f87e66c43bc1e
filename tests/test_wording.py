"""Sentences for people."""

from processor.wording import counted


def test_a_number_has_the_noun_that_fits() -> None:
    """One is not several."""
    assert [counted(number, "member") for number in (0, 1, 2)] == ["0 members", "1 member", "2 members"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
