"""The local stores of simulated processes, which outlive them."""

from collections.abc import Callable, Mapping

from processor.adapters.store_memory import MemoryStore
from processor.engine.ports import Change, Checkpoint
from processor.errors import FatalError
from tests.engine.world import Fate


class Disk:
    """The stores of one machine: what was written stays, whatever becomes of the process."""

    def __init__(self) -> None:
        self.stores: dict[int, MemoryStore] = {}
        self.in_use: set[int] = set()


class DiskStore(MemoryStore):
    """A store on a disk: closing keeps it, and only one process may have it open."""

    is_durable = True

    def __init__(self, origin: str = "") -> None:
        super().__init__(origin)
        self.release: Callable[[], None] = lambda: None
        self.point: Callable[[str], None] = lambda _: None

    def write(self, changes: Mapping[str, Change], checkpoint: Checkpoint | None) -> None:
        """Write."""
        self.point("store: write")
        super().write(changes, checkpoint)
        self.point("store: written")

    def wipe(self, origin: str) -> None:
        """Wipe."""
        release, point = self.release, self.point
        super().wipe(origin)
        self.release, self.point = release, point

    def close(self) -> None:
        """Close."""
        self.release()


def opener(disk: Disk, fate: Fate) -> Callable[[int], DiskStore]:
    """Return how a process opens the stores on a disk."""

    def open_store(number: int) -> DiskStore:
        fate.point("store: open")
        if number in disk.in_use:
            raise FatalError(f"store [{number}] is open already")
        store = disk.stores.setdefault(number, DiskStore())
        assert isinstance(store, DiskStore), "all stores of a disk are of this kind"
        disk.in_use.add(number)
        store.release = lambda: disk.in_use.discard(number)
        store.point = fate.point
        return store

    return open_store
