"""Which workflows are paused, and why: what was heard from everyone, and what we met ourselves.

Rules:
- A pause names the fault by a fingerprint of what we send and as whom. Whoever sends something else is not held by it.
  A pause by an operator names none and holds everyone.
- A generation counts the resumes of a workflow. A fault met by a call that began before the last resume is old news.
- Within a generation a pause that holds us stays, whatever others say of other fingerprints; only a resume ends it.
- A pause holds what starts something. Reads of workflows that run already go on, unless a read met the fault too.
- What is heard of an older generation than is known is answered with what is known, so that the topic says it too.

No proof rests on any of it: a pause that comes late costs refused calls, not results. Pure: nothing here waits, sends
or knows the time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from processor.core.model import Instant


class PauseReason(StrEnum):
    """Why a workflow is paused: a closed list."""

    FAULT = "fault"  # Refused credentials, permission, media type or definition.
    REFUSALS = "refusals"  # Several requests in a row were refused without a success between.
    OPERATOR = "operator"  # A person said so.


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one workflow: paused or not, since when, in which generation.

    `fingerprint` None holds everyone. `why` is the call's own: operation, HTTP status, error codes; no personal data.
    """

    workflow: str
    generation: int
    is_paused: bool
    at: Instant
    reason: PauseReason | None = None
    fingerprint: str | None = None
    holds_reads: bool = False
    why: str = ""

    def resumed(self, now: Instant) -> "Standing":
        """Return what a resume makes of it: the next generation, not paused."""
        return Standing(self.workflow, self.generation + 1, is_paused=False, at=now)


class Pauses:
    """The standing of every workflow, as it concerns this process."""

    def __init__(self, fingerprints: Mapping[str, str]) -> None:
        """Take our own fingerprint of each workflow of the catalogue."""
        self._fingerprints = dict(fingerprints)
        self._known: dict[str, Standing] = {}  # The last of each workflow that concerns us.

    def renew(self, fingerprints: Mapping[str, str]) -> None:
        """Send something else, or as somebody else, from now on: no pause for what was sent before holds us."""
        self._fingerprints = dict(fingerprints)
        self._known = {workflow: self._as_it_concerns_us(known) for workflow, known in self._known.items()}

    def generation(self, workflow: str) -> int:
        """Return the generation of calls that begin now."""
        known = self._known.get(workflow)
        return 0 if known is None else known.generation

    def holding(self, workflow: str) -> Standing | None:
        """Return the pause that holds a workflow here, or None."""
        known = self._known.get(workflow)
        return known if known is not None and known.is_paused else None

    def all_holding(self) -> tuple[Standing, ...]:
        """Return every pause that holds something here."""
        return tuple(known for known in self._known.values() if known.is_paused)

    def met(self, pause: Standing) -> Standing | None:
        """Take in a fault that a call met, in the generation in which that call began.

        Returns what everyone must hear, or None when it says nothing new.
        """
        generation, held = self.generation(pause.workflow), self.holding(pause.workflow)
        if pause.generation < generation:
            return None
        if held is None:
            known = replace(pause, fingerprint=self._fingerprint(pause.workflow))
        elif pause.holds_reads and not held.holds_reads:
            known = replace(held, holds_reads=True)
        else:
            return None
        self._known[pause.workflow] = known
        return known

    def heard(self, workflow: str, standing: Standing | None) -> Standing | None:
        """Take in what stands in the topic; None is a tombstone, which counts as a resume.

        Returns what must be said again because the topic's last word is older than what we know, or None.
        """
        known = self._known.get(workflow)
        generation = 0 if known is None else known.generation
        if standing is None:
            self._known[workflow] = Standing(workflow, generation + 1, is_paused=False, at=known.at if known else 0)
            return None
        if standing.generation < generation:
            return known
        if standing.generation > generation or known is None:
            self._known[workflow] = self._as_it_concerns_us(standing)
            return None
        return self._merge(known, standing)

    def _merge(self, known: Standing, standing: Standing) -> Standing | None:
        """Put two words of one generation together; a pause outlasts a resume that was meant for the one before."""
        if known.is_paused and not standing.is_paused:
            return known
        mine = self._as_it_concerns_us(standing)
        if mine.is_paused and not known.is_paused:
            self._known[known.workflow] = mine
        elif mine.is_paused and mine.holds_reads:
            self._known[known.workflow] = replace(known, holds_reads=True)
        return None

    def _as_it_concerns_us(self, standing: Standing) -> Standing:
        if not standing.is_paused or standing.fingerprint in {None, self._fingerprint(standing.workflow)}:
            return standing
        return Standing(standing.workflow, standing.generation, is_paused=False, at=standing.at)

    def _fingerprint(self, workflow: str) -> str:
        return self._fingerprints.get(workflow, "")  # One that the catalogue lost: it comes back with another.
