"""JSON without what it says."""

import json

from processor.adapters.shapes import Mask, Row, leaves_of, paths_to, rows_of

WORKFLOW = "9E8D7C6B-0000-4000-8000-0000000000E1"
ANSWER = {
    "id": WORKFLOW,
    "status": "RUNNING",
    "person": {"name": "Ada Example", "ada@example.test": 1, "isAdult": True, "none": None},
    "scores": [1, 2.5],
    "checks": [{"name": "a"}, {"name": "bc"}],
}
KNOWN = {WORKFLOW.lower(): "the workflow id"}
WORDS = {"status": {"running": "status word RUNNING"}}


def test_members_are_told_by_path_type_and_length() -> None:
    """A name that is no plain word counts as a value: maps may be keyed by people."""
    assert rows_of(ANSWER, KNOWN, WORDS) == (
        Row("(all of it)", "object(5)"),
        Row("id", "text(36)", "the workflow id"),
        Row("status", "text(7)", "status word RUNNING"),
        Row("person", "object(4)"),
        Row("person.name", "text(11)"),
        Row("person.(a name of 16 characters)", "integer"),
        Row("person.isAdult", "boolean"),
        Row("person.none", "null"),
        Row("scores", "list(2)"),
        Row("scores[]", "integer"),
        Row("scores[]", "number"),
        Row("checks", "list(2)"),
        Row("checks[]", "object(1)"),
        Row("checks[].name", "text(1)"),
        Row("checks[].name", "text(2)"),
    )


def test_masked_values_have_their_type_and_what_is_known_stays() -> None:
    """So what was recorded can be played back; one id has one placeholder, wherever it stands."""
    other = "0b9d6f5e-1111-4a11-8a11-000000000001"
    mask = Mask()
    assert mask.masked(ANSWER, {WORKFLOW.lower(): "{new.workflow}"}, {"status": {"running": "RUNNING"}}) == {
        "id": "{new.workflow}",
        "status": "RUNNING",
        "person": {"name": "masked", "member1": 0, "isAdult": True, "none": None},
        "scores": [0, 0.5],
        "checks": [{"name": "masked"}, {"name": "masked"}],
    }
    first = mask.masked([other, other.upper(), WORKFLOW], {}, {})
    assert first == [first[0], first[0], first[2]]
    assert first[0] != first[2]
    moments = ["2025-09-01T16:40:01.776859+02:00", "1990-12-31", "https://link.test/secret", ""]
    assert mask.masked(moments, {}, {}) == ["2000-01-01T00:00:00Z", "2000-01-01", "https://example.test/masked", ""]


def test_a_word_is_told_at_its_path_alone() -> None:
    """The same word elsewhere says something of somebody; a flag says nothing but its type."""
    words = {"status": {"rejected": "REJECTED"}, "errors[].code": {"gone": "GONE"}}
    value = {
        "status": "rejected",
        "output": {"status": "REJECTED", "decision": "REJECTED", "isListed": False},
        "errors": [{"code": "GONE", "message": "GONE"}],
        "isListed": True,
        "code": "GONE",
    }
    assert Mask().masked(value, {}, words) == {
        "status": "REJECTED",
        "output": {"status": "masked", "decision": "masked", "isListed": True},
        "errors": [{"code": "GONE", "message": "masked"}],
        "isListed": True,
        "code": "masked",
    }
    assert [row.path for row in rows_of(value, {}, words) if row.note] == ["status", "errors[].code"]


def test_paths_are_those_that_settings_can_hold() -> None:
    """Texts in objects; one in a list, or below a name with a dot, no configured path reaches."""
    value = {"a": {"b": "x"}, "c": "x", "d": ["x"], "e.f": "x"}
    assert paths_to(value, lambda text: text == "x") == ("a.b", "c")
    assert dict(leaves_of("bare")) == {}


def test_what_is_nested_too_deeply_is_cut() -> None:
    """A body of nothing but brackets costs no stack."""
    deep = json.loads('{"a":' * 200 + "1" + "}" * 200)
    assert len(rows_of(deep, {}, {})) < 50
    assert list(leaves_of(deep)) == []
    assert json.dumps(Mask().masked(deep, {}, {})).count("a") < 50
