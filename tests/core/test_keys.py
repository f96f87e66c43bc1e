"""Ids become keys in one spelling only."""

from processor.core.keys import canonical_id, launch_key


def test_spellings_of_one_id_give_one_key() -> None:
    """The provider's answer, its webhook and upstream may spell an id in different case."""
    assert canonical_id(" 7C8C1B52-0000-4000-8000-00000000000A\n") == "7c8c1b52-0000-4000-8000-00000000000a"


def test_a_launch_is_keyed_by_its_record_else_its_case_else_its_request() -> None:
    """Everything known about a record meets under one key; a request without either stands alone, spelt as it came."""
    assert launch_key("Rec", "case", "Req") == "rec"
    assert launch_key(None, "CASE", "Req") == "case"
    assert launch_key(" ", None, "Req") == "Req"
