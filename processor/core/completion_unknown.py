"""A workflow of completion that nobody started here (yet): wait for our own start, ask whose it is, tell `launch`.

It is asked for at the provider whose webhook named it, by each API version in turn that the catalogue uses there, for
nothing says by which one it was started. Which facts lead here says the table in `completion.py`.
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
)
from processor.core.keys import launch_key
from processor.core.messages import Observed, StatusRead, WebhookReceived
from processor.core.model import Instant
from processor.core.proof import Proof
from processor.core.reference import read_reference
from processor.core.state import CompletionPhase, Decision, WorkflowState


def webhook_early(terms: Terms, _: None, fact: WebhookReceived, now: Instant) -> Decision:
    """Wait for our own start: a webhook may overtake it."""
    closes_at = now + terms.policy.grace_ms
    phase, webhook_at = CompletionPhase.EARLY, fact.received_at
    return kept(new_state(phase, fact.workflow_id, closes_at, webhook_at=webhook_at, provider=fact.provider))


def grace_over(terms: Terms, head: WorkflowState, now: Instant) -> Decision:
    """Ask whose workflow it is: no start of ours came."""
    closes_at = now + terms.policy.observing_ms
    return read(terms, replace(head, phase=CompletionPhase.OBSERVING, closes_at=closes_at), now)


def observed(terms: Terms, head: WorkflowState, fact: StatusRead, now: Instant) -> Decision:
    """Tell `launch` whose the workflow is; ask by the next version where the answer does not say it."""
    if not is_answer_to(head, fact):
        return Decision()
    if fact.proof is Proof.REFUSED:
        head = replace(head, polls=head.polls + 1)
    if fact.proof is not Proof.DONE:
        is_nobodys = head.polls >= terms.policy.refusals_max
        return forget_later(terms, head, now) if is_nobodys else read_failed(head, fact, now)
    telling = _observation(head, fact, now)
    if telling is not None:
        return replace(forget_later(terms, head, now), outputs=(telling,))
    head = replace(head, silent=(*head.silent, api_asked(terms.catalogue, head)), failures=0)
    is_told_by_none = set(head.silent) >= set(apis_of(terms.catalogue, head.provider))
    return forget_later(terms, head, now) if is_told_by_none else read(terms, head, now)


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
