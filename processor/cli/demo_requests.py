"""The requests of a demo: made up from a seed, or read from a file of JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from processor.adapters.request_lines import DEFAULT_KEY, KeyPath, RequestLine, read_request_line
from processor.cli.publish import LinesRejected, validate
from processor.core.model import Instant
from processor.errors import SettingsInvalid

COMPANY_SHARE = 0.3
REPEATED_EVERY = 20  # One request in so many is published twice.
KEYS_SHARE = 0.9  # Some subjects have two requests, which are prepared in order.
KEY = KeyPath(DEFAULT_KEY, is_optional=True)

FIRST_NAMES = ("Ada", "Bruno", "Clara", "Dawit", "Edda", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kaja", "Lena")
LAST_NAMES = ("Amber", "Birch", "Cedar", "Dune", "Elm", "Fern", "Grove", "Heath", "Isle", "Juniper", "Knoll", "Lark")
COMPANY_WORDS = ("Blue", "Copper", "Linden", "North", "Quiet", "River", "Silver", "Summit", "Velvet", "Winter")
COMPANY_KINDS = ("Bakery", "Bicycles", "Books", "Gardens", "Instruments", "Lamps", "Looms", "Maps", "Tea", "Tools")


@dataclass(frozen=True, slots=True)
class Batch:
    """What is published, in this order; a request may be published more than once."""

    lines: Sequence[RequestLine]
    is_made_up: bool

    @property
    def request_ids(self) -> frozenset[str]:
        """The ids of all requests."""
        return frozenset(str(line.record["requestId"]) for line in self.lines)

    @property
    def repeats(self) -> int:
        """How many events repeat a request that was published before."""
        return len(self.lines) - len(self.request_ids)


def made_up(count: int, seed: int, now: Instant) -> Batch:
    """Make up so many requests of people and companies; the last events repeat some of the earlier ones."""
    source = Random(seed)  # noqa: S311  # names for a demo, the same for the same seed
    subjects = max(1, round(count * KEYS_SHARE))
    lines = []
    for number in range(count):
        given = _request(source, number + 1, f"subject-{number % subjects + 1:04}")
        lines.append(read_request_line(json.dumps(given), now=now, key=KEY))
    return Batch((*lines, *lines[::REPEATED_EVERY]), is_made_up=True)


def read_file(path: Path, now: Instant) -> Batch:
    """Read requests from JSON lines, as `processor publish` does.

    Raises SettingsInvalid when the file cannot be read or is empty, LinesRejected that names each bad line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsInvalid(f"--requests: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsInvalid(f"--requests: {path} is not UTF-8 text; write it as UTF-8") from None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not numbered:
        raise SettingsInvalid(f"--requests: {path} holds no requests; write one JSON object a line")
    validate(text.splitlines(), KEY, now)
    lines = [read_request_line(line, now=now, key=KEY) for _, line in numbered]
    _refuse_moved_ids([(number, line) for (number, _), line in zip(numbered, lines, strict=True)])
    return Batch(lines, is_made_up=False)


def _refuse_moved_ids(numbered: Sequence[tuple[int, RequestLine]]) -> None:
    """Refuse one id under two keys: duplicates are recognised by id and key, so each would get a result."""
    first: dict[str, tuple[int, RequestLine]] = {}
    for number, line in numbered:
        earlier, known = first.setdefault(line.record["requestId"], (number, line))
        if earlier != number and (known.key != line.key or line.key is None):
            raise LinesRejected(
                f"line {number}: its requestId stands in line {earlier} too, and not with the same {DEFAULT_KEY}; "
                "a request is recognised by both, so give it an id of its own"
            )


def _request(source: Random, number: int, reference: str) -> dict[str, Any]:
    is_company = source.random() < COMPANY_SHARE
    common = {
        "requestId": f"demo-{number:04}",
        "workflow": "company-check" if is_company else "person-check",
        "sourceSystem": "demo",
        "tenant": "demo",
        "attributes": {"orderId": f"order-{source.randrange(10_000):04}"},
    }
    if is_company:
        return {**common, "subject": {"reference": reference, "kind": "COMPANY", **_company(source)}}
    parameters = {"amount": source.randrange(1, 500) * 10}
    return {
        **common,
        "subject": {"reference": reference, "kind": "PERSON", **_person(source)},
        "parameters": parameters,
    }


def _person(source: Random) -> dict[str, Any]:
    first, last = source.choice(FIRST_NAMES), source.choice(LAST_NAMES)
    return {
        "firstName": first,
        "lastName": last,
        "email": f"{first}.{last}@example.com".lower(),
        "phone": {"countryCode": "00", "number": f"555{source.randrange(10**6):06}"},
    }


def _company(source: Random) -> dict[str, Any]:
    name = f"{source.choice(COMPANY_WORDS)} {source.choice(COMPANY_KINDS)}"
    return {
        "companyName": f"{name} Ltd",
        "companyNumber": f"X{source.randrange(10**8):08}",
        "companyAddress": f"{source.randrange(1, 200)} Example Street",
    }
