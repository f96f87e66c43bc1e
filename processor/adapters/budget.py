"""How one limit of calls is shared out over all instances of a deployment, without asking each other anything.

Rules:
- Each decider has a fixed share of the limit: a request costs about one creation, one run and two reads, so completion
  has half of it. Runs are never starved by reads, nor reads by runs.
- A decider's share belongs to its partitions, in whole slots, and together they are the limit. Whoever owns partitions
  may use what they carry, pooled.
- An instance whose partitions carry none has one slot all the same. With at least four slots for each partition that
  happens to nobody, and the limit is kept exactly.
- Of a rate an instance has the same part as of the slots.

Pure; everybody computes the same from the limit and the count of partitions.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final

SHARES: Final[Mapping[str, Fraction]] = {
    "launch": Fraction(1, 4),
    "completion": Fraction(1, 2),
    "preparation": Fraction(1, 4),
}


class Budget:
    """The slots of one profile of the provider, by decider and partition."""

    def __init__(self, slots_max: int, partitions: Mapping[str, int]) -> None:
        """Share `slots_max` out; `partitions` counts those of each decider that will be asked for."""
        self._partitions = partitions
        self._slots = _slots_by_decider(slots_max)

    def slots(self, owned: Mapping[str, Collection[int]]) -> int:
        """Return how many calls whoever owns these partitions, by decider, may have open."""
        carried = sum(self._carried(decider, number) for decider, numbers in owned.items() for number in numbers)
        return max(carried, 1) if any(owned.values()) else 0

    def _carried(self, decider: str, partition: int) -> int:
        """Return what one partition carries; those with the lowest numbers carry what does not divide."""
        each, left = divmod(self._slots[decider], self._partitions[decider])
        return each + (partition < left)


def _slots_by_decider(slots_max: int) -> Mapping[str, int]:
    """Divide the slots by shares, so that their sum is exactly the limit."""
    slots, given, until = {}, 0, Fraction(0)
    for decider, share in SHARES.items():
        until += share
        slots[decider] = int(slots_max * until) - given
        given += slots[decider]
    return slots
