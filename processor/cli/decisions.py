"""Publishes what a person decided about a held request, and watches what becomes of it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

from processor.adapters.codec import Codec
from processor.adapters.dead_letters import PREFIX
from processor.adapters.publisher import Place
from processor.adapters.state_reader import Held, is_settled, issued_name, part_name
from processor.adapters.topic_reader import END
from processor.cli.starting import now, publisher_for, reader_for
from processor.core.messages import OperatorDecided, Resolution
from processor.engine.entries import storage_key, unpack
from processor.engine.ports import InputRecord
from processor.settings import Settings, TopicsSettings


class Effect(StrEnum):
    """What became of a decision."""

    TAKEN = "taken"
    REFUSED = "refused"
    NOT_SEEN = "not-seen"


@dataclass(frozen=True, slots=True)
class Seen:
    """The effect of a decision, in words too, and the exit code that says it."""

    effect: Effect
    message: str
    exit_code: int


def decide(settings: Settings, held: Held, resolution: Resolution, workflow_id: str | None, *, wait_s: float) -> Seen:
    """Publish a decision and return what became of it within `wait_s` seconds; raises BrokerUnavailable.

    It goes to the partition whose state was read, since state and input share the partition number.
    """
    topics, codec = settings.topics, Codec(write_format=settings.state.write_format)
    decided = OperatorDecided(
        launch_key=held.key,
        decision_id=uuid4().hex,
        request_id=held.request_id,
        attempt=held.attempt,
        resolution=resolution,
        workflow_id=workflow_id,
        decided_at=now(),
    )
    with reader_for(settings) as reader:
        reader.begin([topics.launch_state, topics.dead_letters], END)
        publisher = publisher_for(settings)
        publisher.publish(topics.launches, held.key.encode(), codec.encode(decided), held.partition)
        publisher.finish(topics.launches)
        assert publisher.last is not None, "what was delivered has a place"
        watch = _Watch(topics, codec, held, publisher.last)
        return watch.until(reader.follow(), time.monotonic() + wait_s)


class _Watch:
    """Looks for the effect of one decision among new state records and dead letters."""

    def __init__(self, topics: TopicsSettings, codec: Codec, held: Held, place: Place) -> None:
        self._topics = topics
        self._codec = codec
        self._held = held
        self._part_key = storage_key(held.key, part_name(held)).encode()
        self._issued_key = storage_key(held.key, issued_name(held)).encode()
        self._source = {
            f"{PREFIX}source.topic": topics.launches.encode(),
            f"{PREFIX}source.partition": str(place.partition).encode(),
            f"{PREFIX}source.offset": str(place.offset).encode(),
        }

    def until(self, records: Iterable[InputRecord | None], give_up_at: float) -> Seen:
        """Return the effect, or that none was seen in time (`give_up_at` on the monotonic clock)."""
        request_id = self._held.request_id
        for record in records:
            seen = None if record is None else self._effect(record)
            if seen is not None:
                return seen
            if time.monotonic() >= give_up_at:
                break
        text = (
            f"the decision about {request_id} is published but not taken up yet: does the submitter run? It keeps; "
            f"`processor held show {request_id}` says whether the request still waits"
        )
        return Seen(Effect.NOT_SEEN, text, 3)

    def _effect(self, record: InputRecord) -> Seen | None:
        request_id = self._held.request_id
        if record.topic == self._topics.dead_letters:
            headers = dict(record.headers)
            if self._source.items() <= headers.items():
                why = headers.get(f"{PREFIX}error.message", b"").decode(errors="replace")
                return Seen(Effect.REFUSED, f"the decision about {request_id} was refused: {why}", 1)
        elif self._is_taken(record):
            return Seen(Effect.TAKEN, f"the decision about {request_id} was taken", 0)
        return None

    def _is_taken(self, record: InputRecord) -> bool:
        """Whether the request is decided about no more; one that waits for one more link ends with what it has."""
        if record.key == self._part_key:
            return is_settled(self._held, self._part(record))
        return record.key == self._issued_key and record.value is None

    def _part(self, record: InputRecord) -> object:
        return None if record.value is None else self._codec.decode(unpack(record.value).body)
