"""What a mark promises, checked from outside: whatever had come before it has its result."""

import json
from collections.abc import Iterator

from tests.engine.cluster import Cluster, Transaction
from tests.engine.toy import Toy

MARK_INTERVAL_MS = 200
MARKING_SHARE = 0.5  # Of the worlds.


class MarkCheck:
    """Looks at every committed mark; what is wrong goes to the cluster's violations."""

    def __init__(self, cluster: Cluster) -> None:
        self.latest: dict[int, int] = {}
        self._cluster = cluster

    def note(self, transaction: Transaction) -> None:
        """Take in the marks of a transaction that was committed; they never move back."""
        for number, position in transaction.positions.items():
            latest = self.latest.get(number, 0)
            if position.mark < latest:
                self._cluster.violations.append(f"[{number}] the mark went back from {latest} to {position.mark}")
            elif position.mark > latest:
                self.latest[number] = position.mark
                self._check(number, position.mark)

    def _check(self, number: int, mark: int) -> None:
        done = set(self._committed_ids())
        for _, record, at in self._cluster.logs(Toy.input_topic)[number].read(0, 1 << 62)[0]:
            fields = _fields(record.value)
            if at < mark and "id" in fields and "proof" not in fields and fields["id"] not in done:
                self._cluster.violations.append(f"[{number}] {fields['id']} of {at} is open behind the mark {mark}")

    def _committed_ids(self) -> Iterator[int]:
        """Yield the numbers whose results are committed, also those behind somebody else's open transaction.

        Whoever relies on a mark reads to the high watermark after it, and so waits for them.
        """
        for row in (row for log in self._cluster.logs("results") for row in log.rows):
            if row.record is not None and (row.transaction is None or row.transaction.is_committed):
                yield json.loads(row.record.value or b"")["id"]


def _fields(value: bytes | None) -> dict[str, object]:
    try:
        fields: dict[str, object] = json.loads(value or b"")
    except ValueError:
        return {}
    return fields
