"""Our own reference comes back as what it was made of, and no other text passes for one."""

import pytest

from processor.core.reference import REFERENCE_MARK, read_reference, reference_of, with_reference


@pytest.mark.parametrize("request_id", ["A", "zażółć/:#", "a b", "x" * 256])
def test_a_reference_says_what_it_was_made_of(request_id: str) -> None:
    """Launch key and request id are read back whatever characters they hold; the text is plain ASCII without blanks."""
    text = reference_of("7c8c1b52-0000", request_id)
    assert read_reference(text) == ("7c8c1b52-0000", request_id)
    assert text.isascii()
    assert " " not in text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "onboarding-ref",
        REFERENCE_MARK,
        "onboarding-ref:QQ:",
        "onboarding-ref:QQ:Q?",
        "onboarding-ref:QQ:QQ:QQ",
    ],
)
def test_any_other_text_is_none(text: str | None) -> None:
    """What was cut, is padded otherwise, or came from somebody else names nobody."""
    assert read_reference(text) is None


def test_a_rendered_body_gets_its_reference() -> None:
    """The mark stands where the catalogue wants the reference, until the launch key is known."""
    body = with_reference(f'{{"ref":"{REFERENCE_MARK}","n":1}}'.encode(), "K", "A")
    assert body == f'{{"ref":"{reference_of("K", "A")}","n":1}}'.encode()
