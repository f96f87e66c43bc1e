"""Seals: why nobody may go on from a state partition, beside its position and never in place of it.

An instance that still lives writes its position on, and a seal that is lifted leaves every position as it was.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from processor.engine.entries import FORMAT, STOPPING_FORMAT, pack
from processor.engine.ports import Entry
from processor.errors import StateUnreadable


class SealKind(StrEnum):
    """What holds a partition back."""

    MOVING = "moving"  # It is being moved to its target.
    MOVED = "moved"  # It goes on at its target, never here.
    FILED = "filed"  # It was written to a file, to go on from there.
    UNFINISHED = "unfinished"  # It is itself a target, and not whole.


_SENTENCES = {
    SealKind.MOVING: "this deployment is being moved to application id {target}: run `processor topics migrate` again "
    "to end that, or `processor topics unseal` to stay here",
    SealKind.MOVED: "this deployment was moved to application id {target}: start that one, never this one again",
    SealKind.FILED: "this deployment was sealed when it was written to a file: start what is restored from it, or run "
    "`processor topics unseal` to go on here",
    SealKind.UNFINISHED: "a move to here is not complete: run it again; nothing may start here before it has ended",
}


@dataclass(frozen=True, slots=True)
class Seal:
    """What holds a partition back, the id of the move that it belongs to, and the application id that it goes to."""

    kind: SealKind
    move_id: str
    target: str = ""

    @property
    def text(self) -> str:
        """Say it to people."""
        return _SENTENCES[self.kind].format(target=self.target)


def seal_value(seal: Seal) -> bytes:
    """Return the value of the record under `SEAL_KEY`.

    No build from before there were seals reads it, and so it stops there as well. Not so at a target, where such a
    build may run once the seal is lifted; there a position of 0 partitions stops it until then.
    """
    body = json.dumps({"kind": seal.kind, "moveId": seal.move_id, "target": seal.target}).encode()
    record_format = FORMAT if seal.kind is SealKind.UNFINISHED else STOPPING_FORMAT
    return pack(Entry(0, None, is_behind_evidence=False, is_waiting=False, body=body), record_format)


def seal_in(entry: Entry) -> Seal:
    """Return the seal in the entry under `SEAL_KEY`; raises StateUnreadable for one that this build does not know."""
    try:
        fields = json.loads(entry.body)
        return Seal(SealKind(fields["kind"]), str(fields["moveId"]), str(fields["target"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnreadable("a newer build sealed this deployment: ask that build why") from error
