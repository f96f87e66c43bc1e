"""Frozen dataclasses whose fields are told from outside, as JSON or as text: declared, read, listed and shown."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """One field as an option of a command; a range or a list is given as text (`20..80`, `a,b`)."""

    name: str
    default: bool | int | float | str
    doc: str


def setting(default: T, doc: str, *, is_secret: bool = False) -> T:
    """Declare a field with its default and its line of documentation; a secret stays out of `repr`."""
    declared: T = field(default=default, metadata={"doc": doc}, repr=not is_secret)
    return declared


def options_of(*owners: Any) -> Iterator[Option]:  # noqa: ANN401  # any dataclass made of settings
    """List every declared field of some dataclasses, flat."""
    for owner in owners:
        for each in fields(owner):
            if "doc" in each.metadata:
                yield Option(each.name, as_text(each.default), each.metadata["doc"])


def values_of(owner: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Name every declared field of `owner` with its value."""
    return {each.name: getattr(owner, each.name) for each in fields(owner) if "doc" in each.metadata}


def coerced(owner: Any, given: Mapping[str, object]) -> dict[str, Any]:  # noqa: ANN401  # as above
    """Turn each given value into the type of the field it names; raises ValueError that names what is wrong."""
    current = values_of(owner)
    unknown = sorted(set(given) - set(current))
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(current)}")
    return {name: _read(name, value, type(current[name])) for name, value in given.items()}


def as_text(value: object) -> bool | int | float | str:
    """Show a value in the form in which it can be given."""
    if isinstance(value, tuple):
        return ",".join(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _read(name: str, value: object, kind: Any) -> object:  # noqa: ANN401  # a class with `of`, or one of the table
    """Read one value, given as JSON or as an option's text."""
    try:
        return _READERS[kind](value) if kind in _READERS else kind.of(value)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{name} cannot be read as {kind.__name__}") from error


def _list_of_texts(value: Any) -> tuple[str, ...]:  # noqa: ANN401  # whatever JSON or a caller holds
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())


def _number(value: Any) -> float:  # noqa: ANN401  # as above
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _whole(value: Any) -> int:  # noqa: ANN401  # as above
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_BOOLEANS: Mapping[object, bool] = {True: True, False: False, "true": True, "false": False}
_READERS: Mapping[type, Callable[[Any], object]] = {
    tuple: _list_of_texts,
    bool: lambda value: _BOOLEANS[value],
    int: _whole,
    float: _number,
    str: _text,
}
