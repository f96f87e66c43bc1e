"""What cannot be decoded is set aside with its bytes and coordinates, and its neighbours go on."""

import pytest

from tests.scenarios.conftest import Stage
from tests.support.onboarding import Request

pytestmark = pytest.mark.broker

RUBBISH = {
    b"json": (b'{"requestId": "r-1"}', b"bad-magic"),
    b"short": (b"\x00\x01", b"short-frame"),
    b"unknown": (b"\x00\x00\x0f\x42\x40\x00", b"unknown-schema"),
    b"nothing": (None, b"null-value"),
}


def test_rubbish_is_set_aside_and_its_neighbours_go_on(stage: Stage, request_id: str) -> None:
    """Bytes and key are kept, the headers say where it was read and why it cannot be served."""
    world = stage.world
    for key, (value, _) in RUBBISH.items():
        world.publish_bytes(key.decode(), value)
    neighbours = [Request(f"{request_id}-{key.decode()}", key.decode()) for key in RUBBISH]
    world.publish(*neighbours)
    for neighbour in neighbours:
        assert world.result(neighbour.request_id)["outcome"] == "COMPLETED"
    letters = {letter.key: letter for letter in world.records("dead-letters") if letter.key in RUBBISH}
    assert {key: (letter.value, letter.headers["dlq.reason"]) for key, letter in letters.items()} == RUBBISH
    read = {record.key: record for record in reversed(world.records("requests")) if record.key in RUBBISH}
    for key, letter in letters.items():
        assert letter.headers["dlq.source.topic"].decode() == world.topic("requests")
        assert int(letter.headers["dlq.source.partition"]) == read[key].partition
        offset = int(letter.headers["dlq.source.offset"])
        (source,) = [
            each for each in world.records("requests") if (each.partition, each.offset) == (read[key].partition, offset)
        ]
        assert (source.key, source.value) == (key, letter.value)
