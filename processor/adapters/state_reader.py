"""What of the state waits for a person: requests of which nobody knows the run, and keys whose rule failed.

Folds the records of state topics, the last of each key counting; only what is asked for is decoded. Pure: somebody else
reads the topic.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from processor.adapters.codec import Codec
from processor.core.launch_parts import DOUBTFUL, ISSUED, SEEN, since_of
from processor.core.messages import Observed, Prepared
from processor.core.model import Instant
from processor.core.state import HEAD, Candidate, Issued, Launching
from processor.engine.entries import PARKED_PREFIX, POSITION_KEY, SEAL_KEY, split_key, unpack
from processor.engine.ports import InputRecord

LINK_STATE = "issued"  # Its end user has a link or token.


@dataclass(frozen=True, slots=True)
class Held:
    """A request that a person may decide about, where its state lies, and the unclaimed workflows of its record.

    `part` is the head of its launch key, whose run is unknown, or what is kept of a request whose end user has a link.
    """

    key: str
    partition: int
    part: Launching | Issued
    candidates: tuple[Observed, ...]

    @property
    def prepared(self) -> Prepared:
        """The request."""
        return self.part.prepared

    @property
    def request_id(self) -> str:
        """Id of the request."""
        return self.prepared.origin.request_id

    @property
    def state(self) -> str:
        """The phase of the launch, or that a link is issued."""
        return self.part.phase if isinstance(self.part, Launching) else LINK_STATE

    @property
    def attempt(self) -> int:
        """Number of the last attempt, which a decision must name."""
        return self.part.attempt if isinstance(self.part, Launching) else self.part.attempts

    @property
    def since(self) -> Instant | None:
        """When the oldest intent was written that may have been executed."""
        return since_of(self.part) if isinstance(self.part, Launching) else self.part.intent_at

    @property
    def why(self) -> str:
        """What the last call proved, in words."""
        return self.part.why if isinstance(self.part, Launching) else ""

    @property
    def waiting_behind(self) -> int:
        """How many requests of the same record wait for this one; a link blocks nobody."""
        return self.part.waiting_next - self.part.waiting_first if isinstance(self.part, Launching) else 0


@dataclass(frozen=True, slots=True)
class Parked:
    """A key whose facts are set aside because deciding one of them failed; `build` is the build that failed."""

    decider: str
    partition: int
    facts: int
    build: str


@dataclass(slots=True)
class _Key:
    """What is known of one state key while the topic is read."""

    partition: int
    parts: dict[str, Launching | Issued] = field(default_factory=dict)
    candidates: dict[str, Observed] = field(default_factory=dict)
    parked: dict[str, str] = field(default_factory=dict)  # Part name -> build.


class StateView:
    """Folds the state records of one decider.

    `gauges` are the words that its machine counts parts by, so that nothing but what is held needs decoding. Links that
    wait for their end user are many and held by nobody, so of those without candidates only that of `sought` is kept.
    Raises StateUnreadable for what a newer build wrote.
    """

    def __init__(self, decider: str, codec: Codec, gauges: Sequence[str], sought: str | None = None) -> None:
        self._decider = decider
        self._codec = codec
        words = {"unknown", "held", "rerun", "candidate"}
        self._wanted = {number for number, word in enumerate(gauges) if word in words}
        self._sought = None if sought is None else ISSUED + sought
        self._keys: dict[str, _Key] = {}

    def fold(self, record: InputRecord) -> None:
        """Fold one record; the last of a storage key counts."""
        storage = (record.key or b"").decode(errors="replace")
        if storage in {POSITION_KEY, SEAL_KEY}:
            return
        key, name = split_key(storage)
        known = self._keys.setdefault(key, _Key(record.partition))
        if name == HEAD or name.startswith(ISSUED):
            known.parts.pop(name, None)
            part = self._part(record, name)
            if isinstance(part, Launching | Issued) and self._is_held(name, part):
                known.parts[name] = part
        elif name.startswith(SEEN):
            known.candidates.pop(name, None)
            part = self._part(record, name)
            if isinstance(part, Candidate):
                known.candidates[name] = part.observed
        elif name.startswith(PARKED_PREFIX):
            known.parked.pop(name, None)
            if record.value is not None:
                known.parked[name] = str(json.loads(unpack(record.value).body).get("build"))
        self._forget_idle(key)

    def held(self) -> list[Held]:
        """Return the requests that a person may decide about, the oldest doubt first."""
        found = [
            Held(name, key.partition, part, tuple(key.candidates.values()))
            for name, key in self._keys.items()
            for part in key.parts.values()
        ]
        return sorted(found, key=lambda held: (held.since or 0, held.request_id))

    def parked(self) -> list[Parked]:
        """Return the keys that are set aside."""
        return [
            Parked(self._decider, key.partition, len(key.parked), next(iter(key.parked.values())))
            for _, key in sorted(self._keys.items())
            if key.parked
        ]

    def _part(self, record: InputRecord, name: str) -> object:
        """Return the part in a record, None when it was deleted or is of no interest."""
        if record.value is None:
            return None
        entry = unpack(record.value)
        is_wanted = entry.gauge in self._wanted or name == self._sought
        return self._codec.decode(entry.body) if is_wanted else None

    def _is_held(self, name: str, part: Launching | Issued) -> bool:
        """Whether nobody knows the run of a request; a link without candidates waits for its user, not for a person."""
        if isinstance(part, Launching):
            return part.phase in DOUBTFUL
        return part.workflow_id is None and (part.has_candidates or name == self._sought)

    def _forget_idle(self, key: str) -> None:
        """Keep only what is held, parked or a candidate, so that memory follows these and not the topic."""
        known = self._keys[key]
        if not known.parts and not known.candidates and not known.parked:
            del self._keys[key]


def is_settled(before: Held, after: object) -> bool:
    """Whether a part shows that a request is decided about no more: `after` is that part now, None if gone."""
    if isinstance(before.part, Issued):
        return not isinstance(after, Issued) or after.workflow_id is not None
    if not isinstance(after, Launching) or after.prepared.origin.request_id != before.request_id:
        return True
    return after.phase not in DOUBTFUL or after.attempt != before.part.attempt


def part_name(held: Held) -> str:
    """Return the name of the part that a request is held in."""
    return HEAD if isinstance(held.part, Launching) else issued_name(held)


def issued_name(held: Held) -> str:
    """Return the name of the part that is kept of a request whose end user has a link."""
    return ISSUED + held.request_id
