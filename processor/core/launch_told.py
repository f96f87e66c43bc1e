"""What an answer, or the proof that a former owner left of one, says about an attempt, and what follows from it.

Both count by request and attempt, also after the call was given up on.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from processor.core.launch_calls import REPEATABLE
from processor.core.launch_parts import (
    NO_LINK,
    Link,
    Run,
    deadline_of,
    oldest_doubt,
    request_of,
)
from processor.core.launch_state import LaunchState
from processor.core.messages import CallAnswered, CallProved
from processor.core.model import Witness
from processor.core.proof import Operation, Proof
from processor.core.state import HEAD, Launching, LaunchPhase


class Meaning(StrEnum):
    """What became of an attempt."""

    RAN = "ran"  # The workflow runs, and we know its id.
    ISSUED = "issued"  # Its end user gets a link, or got it by mail.
    LOST = "lost"  # It may have been executed, and what it made is not known.
    NOT_EXECUTED = "not-executed"


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer, or the proof of one, says about an attempt."""

    operation: Operation
    request_id: str
    attempt: int
    proof: Proof
    workflow_id: str | None
    status: str | None
    wait_ms: int | None
    why: str
    link: Link

    @property
    def meaning(self) -> Meaning:
        """What became of the attempt."""
        if self.proof is Proof.UNKNOWN:
            return Meaning.LOST
        if self.proof is not Proof.DONE:
            return Meaning.NOT_EXECUTED
        if self.operation is Operation.RUN:
            return Meaning.RAN if self.workflow_id is not None else Meaning.LOST
        is_with_user = self.operation is Operation.SEND_LINK or self.link.is_there
        return Meaning.ISSUED if is_with_user else Meaning.LOST

    @property
    def run(self) -> Run:
        """The workflow that ran."""
        assert self.workflow_id is not None, "only what ran has an id"
        return Run(self.workflow_id, Witness.RUN_ANSWER, self.status)


def told(fact: CallAnswered | CallProved) -> Told:
    """Return what a fact says about an attempt; a mailed link is its end user's alone."""
    if isinstance(fact, CallProved):
        made_id, wait_ms, link = fact.workflow_id, None, NO_LINK
    else:
        made_id, wait_ms = fact.made_id, fact.wait_ms
        link = Link(fact.link, fact.token, fact.expires_ms)
    if fact.operation is Operation.SEND_LINK:
        link = NO_LINK
    workflow_id = (made_id or "").strip() or None if fact.operation is Operation.RUN else None
    return Told(
        fact.operation, fact.request_id, fact.attempt, fact.proof, workflow_id, fact.status, wait_ms, fact.why, link
    )


def heard_open(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Go on as the answer says: started, issued, taken back, or unknown."""
    said = told(fact)
    if not _is_current(head, said):
        _use_for_other(key, head, said)
    elif said.meaning is Meaning.LOST:
        key.lose(replace(head, why=said.why))
    else:
        _conclude(key, head, said)


def heard_unknown(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Let a late answer end the doubt; one that says no more than is known changes nothing."""
    said = told(fact)
    if not _is_current(head, said):
        _use_for_other(key, head, said)
    elif said.meaning is not Meaning.LOST:
        _conclude(key, head, said)


def heard_unsent(key: LaunchState, head: Launching, fact: CallAnswered | CallProved) -> None:
    """Start with an earlier attempt that was executed, while no newer one was sent; anything else is old news.

    Of several links only the newest lives, so only that of the last attempt is of use. A mail is out in any case.
    """
    said = told(fact)
    is_last = said.attempt == head.attempt
    if said.request_id != request_of(head) or (head.link_attempt > 1 and not is_last):
        _use_for_ended(key, said)
    elif said.meaning is Meaning.RAN or (said.meaning is Meaning.ISSUED and (is_last or not _is_repeatable(said))):
        _conclude(key, head, said)
    elif said.proof is Proof.DONE and said.operation is Operation.RUN:
        key.doubt(replace(head, why=said.why, operation=said.operation, doubt_at=oldest_doubt(head)))


def heard_idle(key: LaunchState, _: None, fact: CallAnswered | CallProved) -> None:
    """Use what a call says about a request that is not active any more."""
    _use_for_ended(key, told(fact))


def _use_for_other(key: LaunchState, head: Launching, said: Told) -> None:
    """Record what an older attempt did: it counts only if the newer one turns out not to have been executed."""
    if said.request_id != request_of(head) or head.link_attempt > 1:
        _use_for_ended(key, said)
    elif said.meaning is Meaning.RAN:
        key.know(said.run.workflow_id, said.request_id, head.prepared.origin.deadline_at)
        if head.doubt_at is None:
            key.put(HEAD, replace(head, doubt_at=oldest_doubt(head)))
        key.is_unsettled = True
    elif said.meaning is Meaning.ISSUED and not _is_repeatable(said):
        mailed = replace(head, is_mailed=True, doubt_at=oldest_doubt(head))
        if head.phase is LaunchPhase.INTENT:
            key.put(HEAD, mailed)
        else:
            key.issue(mailed, NO_LINK)


def _use_for_ended(key: LaunchState, said: Told) -> None:
    """Start or amend a request that waits for a trace; record the workflow of one that went on without it."""
    if said.meaning is not Meaning.RAN or key.claimed_by(said.run.workflow_id) is not None:
        return
    gave_up, issued = key.gave_up(said.request_id), key.issued(said.request_id)
    if gave_up is not None and not gave_up.has_run:
        key.amend(gave_up, said.run)
    elif issued is not None and issued.workflow_id is None:
        key.start_issued(issued, said.run)
    elif key.has_come(said.request_id):
        key.know(said.run.workflow_id, said.request_id, key.now)
        key.is_unsettled = True


def _conclude(key: LaunchState, head: Launching, said: Told) -> None:
    """Start or issue, or take the attempt back and try again, later or after a verdict."""
    if said.meaning is Meaning.RAN:
        if head.link_attempt > 1:
            key.reissue(head, said.link, said.run)
        else:
            key.start(head, said.run, said.link)
        return
    if said.meaning is Meaning.ISSUED:
        key.issue(head, said.link)
        return
    unsent = key.take_back(replace(head, why=said.why))
    if unsent is None or said.proof is Proof.OUR_FAULT:
        return  # The gate grants no permit until our fault is mended.
    if said.proof is Proof.REFUSED:
        key.enter(unsent, LaunchPhase.SUSPECT, deadline_of(unsent.prepared))
    else:
        key.back_off(unsent, key.now, said.wait_ms)


def _is_current(head: Launching, said: Told) -> bool:
    return (said.request_id, said.attempt) == (request_of(head), head.attempt)


def _is_repeatable(said: Told) -> bool:
    return said.operation in REPEATABLE
