"""A workflow of completion that nobody started here (yet): wait for our own start, ask whose it is, tell `launch`.

It is asked for at the provider whose webhook named it, by each API version in turn, for nothing says by which one it
was started. It is nobody's only when every version has answered: named nobody, or refused, and that for minutes, for
a workflow may be slow to appear. No answer is never an answer, however long it stays away. Which facts lead here says
the table in `completion.py`.
"""

from dataclasses import replace

from processor.core.completion_steps import (
    Terms,
    api_asked,
    apis_of,
    is_answer_to,
    kept,
    new_state,
    read,
    read_failed,
    wait,
)
from processor.core.keys import launch_key
from processor.core.messages import Observed, StatusRead, WebhookReceived
from processor.core.model import Instant
from processor.core.proof import Proof
from processor.core.reference import read_reference
from processor.core.schedule import next_poll_at
from processor.core.state import CompletionPhase, Decision, WorkflowState


def webhook_early(terms: Terms, _: None, fact: WebhookReceived, now: Instant) -> Decision:
    """Wait for our own start: a webhook may overtake it."""
    closes_at = now + terms.policy.grace_ms
    phase, webhook_at = CompletionPhase.EARLY, fact.received_at
    return kept(new_state(phase, fact.workflow_id, closes_at, webhook_at=webhook_at, provider=fact.provider))


def grace_over(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Ask whose workflow it is: no start of ours came."""
    closes_at = now + terms.policy.observing_ms
    asking = replace(head, phase=CompletionPhase.OBSERVING, closes_at=closes_at, polls=0, failures=0)
    return read(terms, replace(asking, silent=(), refused=()), now)


def webhook_again(terms: Terms, head: WorkflowState, fact: WebhookReceived, now: Instant) -> Decision:
    """Ask anew where nobody was told: it shows itself after all. Bounded, for it may be somebody else's for ever."""
    is_newer = head.webhook_at is None or fact.received_at > head.webhook_at
    is_asked_anew = is_newer and not head.is_told and head.attempt < terms.policy.unknown_reads_max
    return grace_over(terms, head, now) if is_asked_anew else Decision()


def observing_over(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Give up the versions that do not answer, where one did; without any answer keep the evidence, and ask on."""
    if head.silent or head.refused:
        return forget_later(terms, head, now)
    return kept(replace(head, closes_at=now + terms.policy.observing_ms))


def observed(terms: Terms, head: WorkflowState, fact: StatusRead, now: Instant) -> Decision:
    """Tell `launch` whose the workflow is; ask by the next version where the answer does not say it."""
    if not is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.REFUSED:
        return _refused(terms, head, now)
    if fact.proof is not Proof.DONE:
        return read_failed(head, fact, now)
    telling = _observation(head, fact, now)
    if telling is not None:
        return replace(forget_later(terms, replace(head, is_told=True), now), outputs=(telling,))
    head = replace(head, silent=(*head.silent, api_asked(terms.catalogue, head)), failures=0)
    is_told_by_none = set(head.silent) >= set(apis_of(terms.catalogue, head.provider))
    return forget_later(terms, head, now) if is_told_by_none else read(terms, head, now)


def _refused(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Ask by the next version; once each has refused, by each again after growing waits, until it lasted."""
    api, apis = api_asked(terms.catalogue, head), apis_of(terms.catalogue, head.provider)
    is_first = api not in head.refused
    refused = (*head.refused, api) if is_first else head.refused
    head = replace(head, polls=head.polls + 1, failures=head.failures + 1, refused=refused)
    is_by_all = {*head.silent, *refused} >= set(apis)
    if is_first and not is_by_all:
        return read(terms, head, now)
    judged_at = head.closes_at - terms.policy.observing_ms + terms.policy.refused_ms
    if is_by_all and now >= judged_at:
        return forget_later(terms, head, now)
    first_ms, max_ms = terms.policy.refused_poll_ms, terms.policy.refused_ms
    poll_at = next_poll_at(now, head.polls, seed=head.workflow_id, first_ms=first_ms, max_ms=max_ms)
    return wait(head, min(poll_at, judged_at) if now < judged_at else poll_at)


def _observation(head: WorkflowState, fact: StatusRead, now: Instant) -> Observed | None:
    """Return what `launch` is told: to the key inside our own reference, else to the record or case, never to both."""
    named = read_reference(fact.our_reference)
    key, request_id = named or (launch_key(fact.record_id, fact.case_id, ""), None)
    if not key:
        return None
    return Observed(
        launch_key=key,
        workflow_id=head.workflow_id,
        record_id=fact.record_id,
        case_id=fact.case_id,
        status=fact.status or "",
        received_at=now if head.webhook_at is None else head.webhook_at,
        observed_at=now,
        request_id=request_id,
        provider=head.provider,
    )


def forget_later(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Remember it as long as its webhooks may be repeated, so that they cost nothing."""
    closes_at = now + terms.policy.forgetting_ms
    return kept(replace(head, phase=CompletionPhase.FORGETTING, poll_at=None, closes_at=closes_at, is_waiting=False))
