"""A launch key while one decision is made: how its workflows are started, and how requests leave.

A workflow is started in one place only: where its intent is written. Whoever leaves makes room for the next.
"""

from dataclasses import replace

from processor.core.adoption import adoption
from processor.core.catalogue import has_version_3_link, is_for_end_users
from processor.core.keys import budget_of, canonical_id
from processor.core.launch_calls import (
    REPEATABLE,
    is_mail_without_address,
    operation_of,
    start_call,
)
from processor.core.launch_parts import (
    GAVE,
    ISSUED,
    NO_LINK,
    UNSENT,
    Link,
    Run,
    custody,
    deadline_of,
    is_repeated,
    new_head,
    oldest_doubt,
    request_of,
    since_of,
)
from processor.core.launch_phases import LaunchPhases
from processor.core.messages import LinkIssued, Prepared, Progressed, Replaced, Step
from processor.core.model import Instant, Outcome, Reason, Timer, Witness
from processor.core.proof import Operation
from processor.core.results import finished_issued, finished_launching, finished_prepared
from processor.core.state import (
    HEAD,
    Decision,
    GaveUp,
    Issued,
    Launching,
    LaunchPhase,
    Part,
    WaitingLaunch,
    waiting_name,
)

_TOO_LATE = "the deadline passed before the workflow was started"
_UNUSED = "the deadline passed, and nothing shows that the link or token was used"
_NO_ADDRESS = "link-send mails to an address, and there is none: the workflow's mode has changed since"
_REFUSED_AGAIN = "a repeated attempt was refused, and whether an earlier one was executed is not known"


class LaunchState(LaunchPhases):
    """One decision under way."""

    __slots__ = ()

    def decision(self) -> Decision:
        """Return what was decided."""
        if self.is_unsettled:
            self.settle()
        head = self.head if self.asks else None
        wants = None
        if head is not None and head.phase is LaunchPhase.READY:
            wants = budget_of(head.prepared.origin.provider, head.prepared.origin.workflow)
        return Decision(self.changes, self.calls(head, wants), tuple(self.outputs), wants)

    # --- phases of the active request ------------------------------------------------------------------------

    def intend(self, head: Launching, until: Instant) -> None:
        """Write the intent to start the active request's workflow and call that; it must be sent before `until`."""
        policy, workflow = self.policy, self.workflow_of(head.prepared)
        if head.link_attempt > 1 and not is_for_end_users(workflow):
            self.refuse_link(head)  # The catalogue has changed since: now the call would run the workflow.
            return
        if is_mail_without_address(head.prepared, workflow):
            self.refuse(replace(head, why=_NO_ADDRESS), Reason.INVALID_REQUEST)
            return
        send_before = min(self.now + policy.send_window_ms, until)
        deadline_at = send_before + policy.run_deadline_ms
        intent = replace(
            head,
            phase=LaunchPhase.INTENT,
            operation=operation_of(workflow, head.prepared.origin.api),
            attempt=head.attempt + 1,
            intent_at=self.now,
            send_before=send_before,
            call_deadline_at=deadline_at,
            timer=Timer(deadline_at + policy.intent_margin_ms),
            is_waiting=False,
        )
        self.put(HEAD, intent)
        self.call = start_call(intent, workflow, self.now)

    def lose(self, head: Launching) -> None:
        """Go on without the answer of the call: make it again if that harms nobody, else open the adoption window."""
        if head.operation in REPEATABLE:
            settled_at = max(self.now, self.settled_at(head))
            unsent = self.take_back(head)
            if unsent is not None:
                self.back_off(unsent, settled_at)
        else:
            self.doubt(head)

    def doubt(self, head: Launching) -> None:
        """Open the adoption window: the active request may have been run, and nobody can tell.

        It closes at the request's deadline if that comes sooner, but stays open in full when the deadline passed
        while the call was open.
        """
        if head.is_mailed:
            self.issue(head, NO_LINK)
            return
        if head.link_attempt > 1 and self.issued(request_of(head)) is None:
            self.refuse_link(head)
            return
        workflow = self.workflow_of(head.prepared)
        window_ms = self.policy.adoption_window_ms if workflow is None else workflow.adoption_window_ms
        is_past, closes_at = self.is_past(head), self.now + window_ms
        due_at = closes_at if is_past else min(closes_at, head.prepared.origin.deadline_at)
        unknown = replace(head, is_past_deadline=is_past, closes_at=due_at, reads=0)
        self.enter(unknown, LaunchPhase.UNKNOWN, self.timer_of(unknown, Timer(due_at, is_behind_evidence=True)))
        self.is_unsettled = True

    def rerun(self, head: Launching) -> None:
        """Let an attempt that left no trace be repeated; the doubt stays, so that a trace of it still wins."""
        why = "nothing was heard of the last attempt"
        self.take_back(replace(head, why=why, failures=0, doubt_at=oldest_doubt(head), reruns=head.reruns + 1))

    def take_back(self, head: Launching) -> Launching | None:
        """Take an attempt back; return the head if its request must still be started.

        It must not when an older attempt turns out to have been executed after all, or when its deadline has passed.
        """
        unsent = replace(head, intent_at=None, send_before=None, call_deadline_at=None, is_past_deadline=False)
        self.ready(replace(unsent, closes_at=None))
        self.is_unsettled = self.is_unsettled or head.has_candidates
        if head.doubt_at is not None:
            self.settle()
        left = self.head
        if left is None or request_of(left) != request_of(head):
            return None
        if left.is_mailed:
            self.issue(left, NO_LINK)
        elif left.link_attempt > 1 and self.issued(request_of(left)) is None:
            self.refuse_link(left)
        elif self.is_past(left):
            self.expire(left)
        else:
            return left
        return None

    # --- ways out of the active request ----------------------------------------------------------------------

    def start(self, head: Launching, run: Run, link: Link = NO_LINK) -> None:
        """Pass custody of the active request on: this is its run."""
        origin = head.prepared.origin
        own_id = canonical_id(run.workflow_id)
        others = tuple(other for other in self._doubtful_ids(head) if canonical_id(other) != own_id)
        self._pass_on(_ended(head, None), run, 1, others)
        if head.doubt_at is not None:
            self.leave_open(request_of(head))
        if is_repeated(head):
            self._keep_claim(replace(_ended(head, None), has_run=True))
        self.outputs.append(Progressed(origin, Step.STARTED, self.now, run.workflow_id, head.attempt))
        if has_version_3_link(self.workflow_of(head.prepared), origin.api):
            self._keep_link(head, run.workflow_id)
            if link.is_there:
                self._publish_link(head.prepared, 1, link)
        self._advance(head)

    def issue(self, head: Launching, link: Link) -> None:
        """Hand the link of the active request to its end user, and make room for the next request."""
        proved_ids = self.claimed_ids(request_of(head)) if head.doubt_at is not None else ()
        if head.link_attempt > 1:
            self.reissue(head, link, None)
        elif proved_ids:
            self.start(head, Run(proved_ids[0], Witness.RUN_ANSWER, None))
        else:
            self._keep_link(head, None)
            self._publish_link(head.prepared, 1, link)
            self._advance(head)
            self.is_unsettled = True

    def reissue(self, head: Launching, link: Link, run: Run | None) -> None:
        """Hand one more link of a request to its end user; in version 3 a newer workflow comes with it.

        A newer workflow without a link, or one of a request that has ended, is of use to nobody: it is only recorded.
        """
        origin, issued = head.prepared.origin, self.issued(request_of(head))
        holder = None if run is None else self.claimed_by(run.workflow_id)
        if run is not None:
            self.know(run.workflow_id, origin.request_id, origin.deadline_at)
        is_useless = run is not None and (not link.is_there or holder not in {None, origin.request_id})
        if issued is None or is_useless:
            self.refuse_link(replace(head, intent_at=None))
            return
        link_at = self.now if head.intent_at is None else head.intent_at
        newer = replace(issued, link_at=link_at, attempts=head.attempt, link_attempt=head.link_attempt)
        if run is not None and issued.workflow_id is not None:
            newer = replace(newer, workflow_id=run.workflow_id)
            if canonical_id(run.workflow_id) != canonical_id(issued.workflow_id):
                self.outputs.append(Replaced(issued.workflow_id, custody(_ended(head, None), run, 1, ())))
        self.put(ISSUED + origin.request_id, newer)
        self._publish_link(head.prepared, head.link_attempt, link)
        self._advance(head)
        self.is_unsettled = True

    def refuse_link(self, head: Launching) -> None:
        """Say that there will be no further link; the request itself is untouched."""
        origin, issued = head.prepared.origin, self.issued(request_of(head))
        self.outputs.append(Progressed(origin, Step.LINK_REFUSED, self.now, attempt=head.link_attempt))
        if issued is not None:
            doubt_at = issued.doubt_at
            if head.operation is Operation.RUN and doubt_at is None:
                doubt_at = head.intent_at
            self.put(ISSUED + origin.request_id, replace(issued, attempts=head.attempt, doubt_at=doubt_at))
        self._advance(head)

    def expire(self, head: Launching) -> None:
        """End the active request because its deadline passed; a doubted attempt that did run amends that."""
        if head.link_attempt > 1:
            self.refuse_link(head)
            return
        reason = Reason.DEADLINE_PASSED
        result = finished_launching(head, Outcome.EXPIRED, self.now, reason=reason, message=_TOO_LATE)
        self.outputs.append(replace(result, candidates=self._doubtful_ids(head)))
        if head.doubt_at is not None:
            self._keep_claim(_ended(head, None))
        self._advance(head)

    def refuse(self, head: Launching, reason: Reason = Reason.REFUSED_BY_PROVIDER) -> None:
        """End the active request because the provider refused it for good, or would have to; `why` says what for."""
        if head.link_attempt > 1:
            self.refuse_link(head)
            return
        if head.reruns > 0:  # No person said that the earlier attempts were not executed.
            self.give_up(head, Reason.RUN_UNKNOWN, _REFUSED_AGAIN)
            return
        result = finished_launching(head, Outcome.NOT_STARTED, self.now, reason=reason, message=head.why)
        self.outputs.append(replace(result, candidates=self._doubtful_ids(head)))
        if head.doubt_at is not None:
            self.leave_open(request_of(head))
        self._advance(head)

    def give_up(self, head: Launching, reason: Reason, message: str) -> None:
        """End the active request without knowing whether it ran; a late trace amends that."""
        if head.link_attempt > 1:
            self.refuse_link(head)
            return
        result = finished_launching(head, Outcome.UNDETERMINED, self.now, reason=reason, message=message)
        self.outputs.append(replace(result, candidates=self.candidates(request_of(head))))
        self._keep_claim(_ended(head, None))
        self._advance(head)

    def _advance(self, head: Launching) -> None:
        """Make the next waiting request active, or the key idle."""
        self.is_unsettled = self.is_unsettled or head.has_candidates
        for number, waiting in self.waiting(head):
            self.put(waiting_name(number), None)
            prepared, link_attempt, attempt = waiting.prepared, waiting.link_attempt, 0
            if link_attempt > 1:
                issued = self.issued(prepared.origin.request_id)
                if issued is None:
                    self.refuse_waiting_link(waiting)
                    continue
                attempt = issued.attempts
            first, last = number + 1, head.waiting_next
            self.ready(new_head(prepared, first, last, attempt=attempt, link_attempt=link_attempt))
            return
        self.put(HEAD, None)

    # --- ways out of other requests --------------------------------------------------------------------------

    def expire_waiting(self, name: str, waiting: WaitingLaunch) -> None:
        """End a waiting request because its deadline passed; it leaves a hole in the queue."""
        self.put(name, None)
        if waiting.link_attempt > 1:
            self.refuse_waiting_link(waiting)
            return
        reason, prepared = Reason.DEADLINE_PASSED, waiting.prepared
        self.outputs.append(finished_prepared(prepared, Outcome.EXPIRED, self.now, reason=reason, message=_TOO_LATE))

    def refuse_waiting_link(self, waiting: WaitingLaunch) -> None:
        """Say that there will be no further link of a request that waited for one."""
        origin = waiting.prepared.origin
        self.outputs.append(Progressed(origin, Step.LINK_REFUSED, self.now, attempt=waiting.link_attempt))

    def start_issued(self, issued: Issued, run: Run) -> None:
        """Pass custody of a request on whose end user used the link: this is its run."""
        origin = issued.prepared.origin
        ended = _ended_issued(issued)
        self._pass_on(ended, run, 1, ())
        if ended.is_many:
            self.leave_open(origin.request_id)
            self._keep_claim(replace(ended, has_run=True))
        self.outputs.append(Progressed(origin, Step.STARTED, self.now, run.workflow_id, issued.attempts))
        self._drop_issued(origin.request_id)

    def end_issued(self, issued: Issued, outcome: Outcome, reason: Reason, message: str = _UNUSED) -> None:
        """End a request whose end user has a link; a late trace amends that."""
        request_id = issued.prepared.origin.request_id
        result = finished_issued(issued, outcome, self.now, reason=reason, message=message)
        self.outputs.append(replace(result, candidates=self.candidates(request_id)))
        self._keep_claim(_ended_issued(issued))
        self._drop_issued(request_id)

    def amend(self, gave_up: GaveUp, run: Run) -> None:
        """Pass custody of an ended request on: its run is known after all."""
        request_id = gave_up.prepared.origin.request_id
        self._pass_on(gave_up, run, 2, ())
        if gave_up.attempts > 1:
            self.leave_open(request_id)
        self.put(GAVE + request_id, replace(gave_up, has_run=True) if gave_up.is_many else None)
        self.is_unsettled = True

    def forget(self, name: str, part: Part) -> None:
        """Forget a part whose time is over."""
        if isinstance(part, GaveUp | Issued):
            self.leave_open(part.prepared.origin.request_id)
            self.is_unsettled = True
        self.put(name, None)
        if isinstance(part, Issued):
            self._drop_issued(part.prepared.origin.request_id)

    def _drop_issued(self, request_id: str) -> None:
        """Issue no further link of a request that has left; an open call for one is answered first."""
        self.put(ISSUED + request_id, None)
        self.is_unsettled = True
        head = self.head
        is_of_it = head is not None and head.link_attempt > 1 and request_of(head) == request_id
        if head is not None and is_of_it and head.phase is not LaunchPhase.INTENT:
            self.refuse_link(head)

    # --- evidence --------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let every request have the run that can only be its own, then forget what nobody can claim."""
        self._start_doubted()
        while (pair := adoption(self.claims(), self.observations(), self.policy.clock_margin_ms)) is not None:
            claim, observed = pair
            run = Run(observed.workflow_id, self.witness_of(observed), observed.status or None)
            gave_up, issued, head = self.gave_up(claim.request_id), self.issued(claim.request_id), self.head
            if gave_up is not None:
                self.amend(gave_up, run)
            elif issued is not None:
                self.start_issued(issued, run)
            else:
                assert head is not None, "a request adopted a run that is neither active, issued nor given up"
                self.start(head, run)
        self.tidy()
        self.is_unsettled = False

    def _start_doubted(self) -> None:
        """Start the active request with an older attempt that is proved, while no newer one may have run."""
        head = self.head
        if head is None or head.doubt_at is None or head.phase not in UNSENT:
            return
        proved_ids = self.claimed_ids(request_of(head))
        if proved_ids:
            self.start(head, Run(proved_ids[0], Witness.RUN_ANSWER, None))

    def _pass_on(self, claim: GaveUp, run: Run, revision: int, candidates: tuple[str, ...]) -> None:
        origin = claim.prepared.origin
        self.know(run.workflow_id, origin.request_id, origin.deadline_at)
        self.outputs.append(custody(claim, run, revision, candidates))

    def _keep_claim(self, claim: GaveUp) -> None:
        origin = claim.prepared.origin
        due_at = max(self.now, origin.deadline_at) + self.policy.amendment_ms
        self.put(GAVE + origin.request_id, replace(claim, timer=Timer(due_at, is_behind_evidence=True)))

    def _doubtful_ids(self, head: Launching) -> tuple[str, ...]:
        """Return the workflows that may be runs of older attempts; without a search when none was doubted."""
        return () if head.doubt_at is None else self.candidates(request_of(head))

    # --- links -----------------------------------------------------------------------------------------------

    def _keep_link(self, head: Launching, workflow_id: str | None) -> None:
        """Keep a request whose end user has a link, and what one more link of it needs."""
        since = since_of(head)
        issued = Issued(
            prepared=head.prepared,
            intent_at=self.now if since is None else since,  # A late answer: nobody can have used it before now.
            link_at=self.now if head.intent_at is None else head.intent_at,
            attempts=head.attempt,
            link_attempt=1,
            asked_attempt=1,
            workflow_id=workflow_id,
            timer=None,
            is_rerun=is_repeated(head),
            is_disputed=head.is_disputed,
        )
        end = deadline_of(head.prepared)
        timer = end if workflow_id is not None else self.timer_of(issued, end)
        self.put(ISSUED + request_of(head), replace(issued, timer=timer))

    def _publish_link(self, prepared: Prepared, link_attempt: int, link: Link) -> None:
        expires_at = None if link.lives_ms is None else self.now + link.lives_ms
        self.outputs.append(
            LinkIssued(
                origin=prepared.origin,
                link_attempt=link_attempt,
                link=link.link,
                token=link.token,
                issued_at=self.now,
                expires_at=expires_at,
                record_id=prepared.record_id,
                case_id=prepared.case_id,
            )
        )


def _ended(head: Launching, timer: Timer | None) -> GaveUp:
    """Return what is kept of an active request that leaves; nothing more is called for it."""
    return GaveUp(
        _without_inputs(head.prepared),
        oldest_doubt(head),
        head.attempt,
        timer,
        is_rerun=is_repeated(head),
        link_at=None if head.operation is Operation.RUN else since_of(head),
        is_disputed=head.is_disputed,
        is_many=is_repeated(head),
    )


def _ended_issued(issued: Issued) -> GaveUp:
    return GaveUp(
        _without_inputs(issued.prepared),
        issued.intent_at,
        issued.attempts,
        None,
        is_rerun=issued.is_rerun,
        link_at=issued.link_at,
        is_disputed=issued.is_disputed,
        is_many=issued.link_attempt > 1 or issued.is_rerun,
    )


def _without_inputs(prepared: Prepared) -> Prepared:
    return prepared if prepared.inputs is None else replace(prepared, inputs=None)
