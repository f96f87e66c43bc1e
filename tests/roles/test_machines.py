"""What the machines make of records: keys, sizes, dead letters, and custody that cannot be read."""

import hashlib

import pytest

from processor.adapters.avro import EventEncoder, RequestDecoder
from processor.adapters.codec import Codec
from processor.adapters.registry import registry_client
from processor.core.catalogue import Catalogue
from processor.core.launch import Launch
from processor.core.messages import CustodyUnreadable, Prepared
from processor.core.model import Origin
from processor.core.preparation import Preparation
from processor.engine.ports import InputRecord
from processor.errors import PoisonError, UndecodableMessage
from processor.roles.machines import VALUE_OMITTED, LaunchMachine, PreparationMachine, Writing, lane_key
from processor.settings import Settings

SETTINGS = Settings()
CLIENT = registry_client("http://127.0.0.1:1")  # Nothing here asks it.
WRITING = Writing(SETTINGS.topics, Codec(), EventEncoder(CLIENT, source="urn:test", definitions={}), "0")
CATALOGUE = Catalogue({})
PREPARATION = PreparationMachine(Preparation(CATALOGUE), WRITING, RequestDecoder(CLIENT), lambda: None)
LAUNCH = LaunchMachine(Launch(CATALOGUE), WRITING)
ORIGIN = Origin("r-1", "person-check", b"k", "results", 1, 2, 3)
PREPARED = Prepared(ORIGIN, "rec-1", "rec-1", None, is_own=True, parameters_id=None, prepared_at=4)


def record(value: bytes | None, key: bytes | None = b"k", headers: tuple[tuple[str, bytes], ...] = ()) -> InputRecord:
    """Return a record as it was read."""
    return InputRecord("requests", 3, 17, key, value, headers, 1_000)


@pytest.mark.parametrize("key", [b"S-1", "za\u017c\u00f3\u0142\u0107".encode()])
def test_a_lane_is_the_key_where_that_is_plain_text(key: bytes) -> None:
    """Whoever looks at the state finds the key of the request."""
    assert lane_key(key) == key.decode()


@pytest.mark.parametrize("key", [b"", b"a\0b", b"\xff", b"k" * 513])
def test_a_key_that_is_no_plain_text_goes_by_its_hash(key: bytes) -> None:
    """A lane is text without NUL, for NUL parts a state key from its part."""
    assert lane_key(key) == f"sha256:{hashlib.sha256(key).hexdigest()}"


@pytest.mark.parametrize("value,key", [(b"x" * 262_145, None), (b"x" * 200_000, b"k" * 70_000)])
def test_a_request_above_the_limit_is_set_aside_unread(value: bytes, key: bytes | None) -> None:
    """Key and value count together, for the key goes on to the result."""
    with pytest.raises(UndecodableMessage) as refused:
        PREPARATION.arrived(record(value, key))
    assert refused.value.reason == "too-large"


@pytest.mark.parametrize("size,is_whole", [(900_000, True), (1_040_000, False)])
def test_a_dead_letter_holds_the_bytes_if_any_record_of_ours_can(size: int, is_whole: bool) -> None:  # noqa: FBT001
    """What was written with a higher limit than ours stays where it was read, and the dead letter says so."""
    (letter,), remains = PREPARATION.poisoned(record(b"x" * size), PoisonError("too-large", "too large"))
    headers = dict(letter.headers)
    assert remains is None
    assert (letter.key, len(letter.value or b"")) == (b"k", size if is_whole else 0)
    assert headers.get(VALUE_OMITTED) == (None if is_whole else str(size).encode())
    assert headers["dlq.source.offset"] == b"17"


def test_a_dead_letter_of_an_immense_key_still_fits() -> None:
    """Nothing that upstream can write makes a record that we cannot produce, for that would stop the partition."""
    (letter,), _ = PREPARATION.poisoned(record(b"x", b"k" * 995_000), PoisonError("too-large", "too large"))
    assert (letter.key, letter.value) == (None, b"")


def test_custody_that_cannot_be_read_still_names_its_request() -> None:
    """The headers of a message that carries custody end its request, whatever became of its value."""
    (written,) = LAUNCH.to_records(PREPARED, None)
    damaged = record(b"\x01\x02damaged", written.key, written.headers)
    with pytest.raises(UndecodableMessage):
        LAUNCH.arrived(damaged)
    _, remains = LAUNCH.poisoned(damaged, UndecodableMessage("bad-avro", "damaged"))
    assert remains == ("rec-1", CustodyUnreadable("rec-1", "r-1", "person-check", b"k", "results", 1_000))


def test_custody_is_read_back_as_it_was_written() -> None:
    """What preparation hands over is what launch takes, under the launch key."""
    (written,) = LAUNCH.to_records(PREPARED, None)
    assert LAUNCH.arrived(record(written.value, written.key)) == ("rec-1", PREPARED)
