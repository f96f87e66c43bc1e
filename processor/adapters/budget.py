"""How one limit of calls is shared out over all instances of a deployment, without asking each other anything.

Rules:
- The limit belongs to the partitions: each partition of each decider carries a whole number of slots, and together
  they are the limit. Whoever owns partitions may use what they carry, pooled.
- Each carries one first, so that nobody who owns one has none. What is left is divided by fixed shares: a request
  costs about one creation, one run and two reads, so that completion has half of it.
- Below one for each, an instance whose partitions carry none has one all the same.
- Of a rate an instance has the same part as of the slots.

Pure; everybody computes the same from the limit and the counts of partitions.
"""

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final

# By decider; of what is left after one for each partition.
SHARES: Final[Mapping[str, Fraction]] = {
    "launch": Fraction(1, 4),
    "completion": Fraction(1, 2),
    "preparation": Fraction(1, 4),
}


class Budget:
    """The slots of one profile of the provider, by decider and partition."""

    def __init__(self, slots_max: int, partitions: Mapping[str, int]) -> None:
        """Share `slots_max` out over so many partitions of each decider in `SHARES`."""
        self.slots_max = slots_max
        self._partitions = partitions
        self._slots = _slots_by_decider(slots_max, partitions)

    def slots(self, owned: Mapping[str, Collection[int]]) -> int:
        """Return how many calls whoever owns these partitions, by decider, may have open."""
        carried = sum(self._carried(decider, number) for decider, numbers in owned.items() for number in numbers)
        return max(carried, 1) if any(owned.values()) else 0

    def _carried(self, decider: str, partition: int) -> int:
        """Return what one partition carries; those with the lowest numbers carry what does not divide."""
        each, left = divmod(self._slots[decider], self._partitions[decider])
        return each + (partition < left)


def _slots_by_decider(slots_max: int, partitions: Mapping[str, int]) -> Mapping[str, int]:
    """Divide the slots by shares, after one for each partition if there are so many; their sum is exactly the limit."""
    each = 1 if slots_max >= sum(partitions[decider] for decider in SHARES) else 0
    left = slots_max - each * sum(partitions[decider] for decider in SHARES)
    slots, given, until = {}, 0, Fraction(0)
    for decider, share in SHARES.items():
        until += share
        slots[decider] = each * partitions[decider] + int(left * until) - given
        given = int(left * until)
    return slots
