"""What of the state waits for a person: requests whose run is unknown, and keys whose rule failed.

Folds the records of state topics, the last of each key counting; only what is asked for is decoded. Pure: somebody else
reads the topic.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from processor.adapters.codec import Codec
from processor.core.launch_parts import HEAD, SEEN, request_of
from processor.core.messages import Observed
from processor.core.state import Candidate, Launching, LaunchPhase
from processor.engine.entries import PARKED_PREFIX, POSITION_KEY, split_key, unpack
from processor.engine.ports import InputRecord

UNKNOWN_PHASES = frozenset({LaunchPhase.UNKNOWN, LaunchPhase.HELD})


@dataclass(frozen=True, slots=True)
class Held:
    """A request whose run is unknown, where its state lies, and the unclaimed workflows seen on its record."""

    key: str
    partition: int
    head: Launching
    candidates: tuple[Observed, ...]

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return request_of(self.head)


@dataclass(frozen=True, slots=True)
class Parked:
    """A key whose facts are set aside because deciding one of them failed; `build` is the build that failed."""

    decider: str
    partition: int
    key: str
    facts: int
    build: str


@dataclass(slots=True)
class _Key:
    """What is known of one state key while the topic is read."""

    partition: int
    head: Launching | None = None
    candidates: dict[str, Observed] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)  # Part name -> build.


class StateView:
    """Folds the state records of one decider.

    `gauges` are the words that its machine counts parts by, so that nothing but what is held needs decoding.
    Raises StateUnreadable for what a newer build wrote.
    """

    def __init__(self, decider: str, codec: Codec, gauges: Sequence[str]) -> None:
        self._decider = decider
        self._codec = codec
        self._wanted = {number for number, word in enumerate(gauges) if word in {"unknown", "held", "candidate"}}
        self._keys: dict[str, _Key] = {}

    def fold(self, record: InputRecord) -> None:
        """Fold one record; the last of a storage key counts."""
        storage = (record.key or b"").decode(errors="replace")
        if storage == POSITION_KEY:
            return
        key, name = split_key(storage)
        if name == HEAD:
            part = self._part(record)
            self._at(key, record).head = part if isinstance(part, Launching) else None
        elif name.startswith(SEEN):
            part = self._part(record)
            candidates = self._at(key, record).candidates
            candidates.pop(name, None)
            if isinstance(part, Candidate):
                candidates[name] = part.observed
        elif name.startswith(PARKED_PREFIX):
            parked = self._at(key, record).parked
            parked.pop(name, None)
            if record.value is not None:
                parked[name] = str(json.loads(unpack(record.value).body).get("build"))
        self._forget_idle(key)

    def held(self) -> list[Held]:
        """Return the requests whose run is unknown, the oldest doubt first."""
        found = [
            Held(name, key.partition, key.head, tuple(key.candidates.values()))
            for name, key in self._keys.items()
            if key.head is not None and key.head.phase in UNKNOWN_PHASES
        ]
        return sorted(found, key=lambda held: (held.head.doubt_at or held.head.intent_at or 0, held.request_id))

    def parked(self) -> list[Parked]:
        """Return the keys that are set aside."""
        return [
            Parked(self._decider, key.partition, name, len(key.parked), next(iter(key.parked.values())))
            for name, key in sorted(self._keys.items())
            if key.parked
        ]

    def _at(self, key: str, record: InputRecord) -> _Key:
        return self._keys.setdefault(key, _Key(record.partition))

    def _part(self, record: InputRecord) -> object:
        """Return the part in a record, None when it was deleted or is of no interest."""
        if record.value is None:
            return None
        entry = unpack(record.value)
        return self._codec.decode(entry.body) if entry.gauge in self._wanted else None

    def _forget_idle(self, key: str) -> None:
        """Keep only what is held, parked or a candidate, so that memory follows these and not the topic."""
        known = self._keys.get(key)
        if known is not None and known.head is None and not known.candidates and not known.parked:
            del self._keys[key]


def is_settled(before: Launching, after: object) -> bool:
    """Whether a key's head shows that the run of a request is unknown no more: `after` is its part, None if gone."""
    if not isinstance(after, Launching) or request_of(after) != request_of(before):
        return True
    return after.phase not in UNKNOWN_PHASES or after.attempt != before.attempt
