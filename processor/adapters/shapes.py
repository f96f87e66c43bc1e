"""What JSON looks like without saying what it holds: member paths, types, lengths; and the same JSON masked.

Values may name people, so none leaves here but those that the caller lists: ids by what they stand for, and words at
the paths where they are status words or the like, for the same word elsewhere says something of a person. A member's
name that is no plain word counts as a value too, for some maps are keyed by people.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Known: TypeAlias = Mapping[str, str]  # Text in lower case -> what stands in its place.
Words: TypeAlias = Mapping[str, Known]  # Dotted path (`[]` for the items of a list) -> what is known there alone.

DEPTH_MAX: Final = 32
ROWS_MAX: Final = 500
NAMED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:?\d\d)?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class Row:
    """One member: its dotted path (`[]` for the items of a list), its type, and what its text stands for."""

    path: str
    type: str
    note: str = ""


def rows_of(value: Any, known: Known, words: Words) -> tuple[Row, ...]:  # noqa: ANN401  # any JSON
    """Return a row for each member, lists by their items together, each path and type once."""
    rows: dict[tuple[str, str], Row] = {}
    for row in _rows(value, "", known, words):
        if len(rows) >= ROWS_MAX:
            break
        rows.setdefault((row.path, row.type), row)
    return tuple(rows.values())


def leaves_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  # as above
    """Yield dotted path and text of each text that lies in objects alone, where a configured path can reach it."""
    if path.count(".") > DEPTH_MAX:
        return
    if isinstance(value, str) and path:
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name and "." not in name:
                yield from leaves_of(inner, _below(path, name))


def paths_to(value: Any, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:  # noqa: ANN401  # as above
    """Return the paths of the texts that are wanted, in order."""
    return tuple(path for path, text in leaves_of(value) if is_wanted(text))


class Mask:
    """Puts placeholders of the same type in place of values; one value has one placeholder for the whole recording."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def masked(self, value: Any, known: Known, words: Words) -> Any:  # noqa: ANN401  # as above
        """Return a value masked; texts that are known, anywhere or at their path, have what stands for them."""
        return self._masked(value, "", known, words)

    def _masked(self, value: Any, path: str, known: Known, words: Words, depth: int = 0) -> Any:  # noqa: ANN401
        if depth > DEPTH_MAX:
            return None
        if isinstance(value, dict):
            names = {name: name if NAMED.fullmatch(name) else f"member{number}" for number, name in enumerate(value)}
            return {
                names[name]: self._masked(inner, _below(path, names[name]), known, words, depth + 1)
                for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._masked(inner, f"{path}[]", known, words, depth + 1) for inner in value]
        if isinstance(value, str):
            return _told(value, path, known, words) or self._text(value)
        if isinstance(value, bool) or value is None:
            return None if value is None else True
        return 0 if isinstance(value, int) else 0.5

    def _text(self, text: str) -> str:
        if not text:
            return text
        if _UUID.fullmatch(text):
            return self._ids.setdefault(text.lower(), f"00000000-0000-4000-8000-{len(self._ids) + 1:012x}")
        if _MOMENT.fullmatch(text):
            return "2000-01-01T00:00:00Z"
        if _DAY.fullmatch(text):
            return "2000-01-01"
        return "https://example.test/masked" if _ADDRESS.fullmatch(text) else "masked"


def _rows(value: Any, path: str, known: Known, words: Words) -> Iterator[Row]:  # noqa: ANN401  # as above
    if path.count(".") > DEPTH_MAX:
        return
    shown = path or "(all of it)"
    if isinstance(value, dict):
        yield Row(shown, f"object({len(value)})")
        for name, inner in value.items():
            word = name if NAMED.fullmatch(name) else f"(a name of {len(name)} characters)"
            yield from _rows(inner, _below(path, word), known, words)
    elif isinstance(value, list):
        yield Row(shown, f"list({len(value)})")
        for inner in value:
            yield from _rows(inner, f"{path}[]", known, words)
    elif isinstance(value, str):
        yield Row(shown, f"text({len(value)})", _told(value, path, known, words))
    else:
        yield Row(shown, _type_of(value))


def _told(text: str, path: str, known: Known, words: Words) -> str:
    """Return what stands for a text, nothing where it is a value."""
    spelt = text.strip().lower()
    return words.get(path, {}).get(spelt) or known.get(spelt, "")


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _type_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "number"
