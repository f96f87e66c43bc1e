"""Results of every kind: each outcome, reason, witness and word, amendments, and what older and newer builds write."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from processor.core.messages import Finished
from processor.core.model import DAY_MS, MINUTE_MS, SECOND_MS, Origin, Outcome, Reason, Witness
from processor.core.result_body import NOT_CONFIGURED, TOO_LARGE, UNAVAILABLE
from processor.core.results import finished
from tests.contracts.kit.sample import NEWER, RESULTS

AT = 1_795_510_800_123  # 2026-11-24T09:00:00.123Z
WORKFLOW_ID, RECORD_ID, CASE_ID = (f"00000000-0000-4000-8000-0000000000{last}" for last in ("a1", "b1", "c1"))
OTHER_WORKFLOW_ID = "00000000-0000-4000-8000-0000000000a2"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = '{"decision":"approved","riskScore":12,"checks":[{"name":"document","passed":true}]}'
APPEND = "Write it under (requestId, revision); a second delivery changes nothing."


@dataclass(frozen=True, slots=True)
class Result:
    """One result as the processor decides it; `version` is that of the schema it is written with, None the newest."""

    name: str
    what: str
    event: Finished
    expected: str = APPEND
    version: int | None = None
    newer: tuple[tuple[str, str], ...] = ()  # What only a newer build would say: field, word.


def origin(request_id: str) -> Origin:
    """Return what of a request comes back on its events."""
    return Origin(
        request_id=request_id,
        workflow="person-check",
        key=b"C-1001",
        results_topic=RESULTS,
        requested_at=AT,
        accepted_at=AT + 40,
        deadline_at=AT + 7 * DAY_MS,
        subject_reference="C-1001",
        tenant="example",
        source_system="crm",
        correlation_id="corr-1",
        attributes={"channel": "web"},
        traceparent=TRACEPARENT,
    )


def bare_origin(request_id: str) -> Origin:
    """Return the least that can be known of a request."""
    of = origin(request_id)
    return Origin(request_id, of.workflow, of.key, RESULTS, of.requested_at, of.accepted_at, of.deadline_at)


def _completed(name: str) -> Finished:
    """Return a result of which everything is known."""
    bare = finished(origin(f"kit-{name}"), Outcome.COMPLETED, AT + 5 * MINUTE_MS, reason=None, message=None)
    return replace(
        bare,
        decision="approved",
        status="COMPLETED",
        workflow_id=WORKFLOW_ID,
        record_id=RECORD_ID,
        result=BODY,
        result_hash=hashlib.sha256(BODY.encode()).hexdigest(),
        result_bytes=len(BODY),
        started_at=AT + 2 * SECOND_MS,
        seen_at=AT + 5 * MINUTE_MS - 300,
        completed_by=Witness.WEBHOOK,
        attempts=1,
    )


def _omitted(name: str, why: str) -> Finished:
    """Return a completed result without the provider's."""
    bare = replace(_completed(name), result=None, result_hash=None, result_bytes=None)
    return replace(bare, result_omitted=why, decision=None)


def _ended(name: str, outcome: Outcome, reason: Reason, message: str) -> Finished:
    """Return a result of a request whose run, if there was one, told nothing."""
    at = AT + 3 * SECOND_MS if outcome is Outcome.NOT_STARTED else AT + 7 * DAY_MS + SECOND_MS
    return finished(origin(f"kit-{name}"), outcome, at, reason=reason, message=message)


def results() -> Sequence[Result]:
    """Return all results of the kit."""
    return (*_well_ended(), *_without_result(), *_oddly_keyed(), *_not_well_ended(), *_amended(), *_of_other_builds())


def _well_ended() -> Sequence[Result]:
    """Return completed ones: by each witness, with and without decision, record and labels."""
    name = "completed-"
    selected = replace(_completed(f"{name}by-poll"), completed_by=Witness.POLL, result='{"riskScore":12}')
    in_answer = replace(_completed(f"{name}by-run-answer"), completed_by=Witness.RUN_ANSWER)
    by_person = replace(_completed(f"{name}by-operator"), completed_by=Witness.OPERATOR, attempts=2)
    what_decision = "It completed; the catalogue names no decision, so `decision` is null."
    no_decision = replace(_completed(f"{name}no-decision"), decision=None)
    on_a_case = replace(_completed(f"{name}on-a-case"), record_id=None, case_id=CASE_ID)
    rerun = replace(_completed(f"{name}rerun"), attempts=2, is_rerun=True)
    what_rerun = "It completed; an attempt of unknown outcome had been repeated, so it may have run twice."
    adopted = replace(_completed(f"{name}adopted"), attempts=0)
    return (
        Result(f"{name}by-webhook", "It completed; a webhook told first.", _completed(f"{name}by-webhook")),
        Result(f"{name}by-poll", "It completed, a status read told first; part of the result is published.", selected),
        Result(f"{name}by-run-answer", "It completed within the call that started it.", in_answer),
        Result(f"{name}by-operator", "It completed; a person had said which workflow it was.", by_person),
        Result(f"{name}no-decision", what_decision, no_decision, "Take the answer from `result`; null is no refusal."),
        Result(f"{name}on-a-case", "A workflow of version 1: `caseId` instead of `recordId`.", on_a_case),
        Result(f"{name}rerun", what_rerun, rerun),
        Result(f"{name}adopted", "It completed; another service had started it, so `attempts` is 0.", adopted),
    )


def _without_result() -> Sequence[Result]:
    """Return completed ones that bring no result, one for each word that says why."""
    none, large, lost = "completed-not-configured", "completed-too-large", "completed-unavailable"
    digest = hashlib.sha256(b"a body that was too large").hexdigest()
    return (
        Result(
            none,
            "It completed; the catalogue publishes nothing of the result.",
            _omitted(none, NOT_CONFIGURED),
            "It is complete without a result; ask for none.",
        ),
        Result(
            large,
            "It completed; its result is larger than a record may be. Hash and size are those of the whole.",
            replace(_omitted(large, TOO_LARGE), decision="approved", result_bytes=1_400_000, result_hash=digest),
            "Act on `decision`; fetch the result from the provider by `workflowId` if it is needed.",
        ),
        Result(
            lost,
            "It completed, and its result could not be had: an outcome of COMPLETED with a reason.",
            replace(_omitted(lost, UNAVAILABLE), reason=Reason.RESULT_UNAVAILABLE),
            "It is complete; do not take `reason` for a failure.",
        ),
    )


def _oddly_keyed() -> Sequence[Result]:
    """Return what must not surprise: no key, no label, letters outside ASCII."""
    unkeyed, bare, unicode = (_completed(f"completed-{name}") for name in ("null-key", "bare", "unicode"))
    of = unicode.origin
    far = replace(
        of, key="klucz-Zażółć".encode(), subject_reference="klucz-Zażółć", attributes={"kanał": "aplikacja 📱"}
    )
    return (
        Result(
            "completed-null-key",
            "Its request had no key: the key is the request id.",
            replace(unkeyed, origin=replace(unkeyed.origin, key=None, subject_reference=None)),
        ),
        Result(
            "completed-bare",
            "Nothing optional is there: no labels, no attributes, no trace context.",
            replace(bare, origin=bare_origin(bare.origin.request_id), decision=None, status=None),
        ),
        Result("completed-unicode", "Key, reference and attributes outside ASCII.", replace(unicode, origin=far)),
    )


_NO_END = "the deadline passed before the workflow's end was known"
_SET_OUT: Mapping[str, Any] = {"record_id": RECORD_ID, "started_at": AT + 2 * SECOND_MS, "attempts": 1}

# name, what it is, outcome, reason, message, what else is known
_NOT_ENDED: tuple[tuple[str, str, Outcome, Reason, str, Mapping[str, Any]], ...] = (
    (
        "not-started-unknown-workflow",
        "The catalogue has no workflow of that name.",
        Outcome.NOT_STARTED,
        Reason.UNKNOWN_WORKFLOW,
        "the catalogue has no workflow of that name",
        {},
    ),
    (
        "not-started-invalid-request",
        "A value that the workflow needs is missing.",
        Outcome.NOT_STARTED,
        Reason.INVALID_REQUEST,
        "recordId is missing: the workflow is for a record that each request names",
        {},
    ),
    (
        "not-started-refused",
        "The provider refused it for good.",
        Outcome.NOT_STARTED,
        Reason.REFUSED_BY_PROVIDER,
        "HTTP 422, codes VALIDATION_FAILED",
        _SET_OUT,
    ),
    (
        "expired-before-start",
        "The deadline passed before the workflow was started.",
        Outcome.EXPIRED,
        Reason.DEADLINE_PASSED,
        "the deadline passed before the workflow was started",
        {"record_id": RECORD_ID},
    ),
    (
        "expired-before-end",
        "The deadline passed while the workflow ran; an amendment may follow.",
        Outcome.EXPIRED,
        Reason.DEADLINE_PASSED,
        _NO_END,
        {**_SET_OUT, "workflow_id": WORKFLOW_ID, "status": "RUNNING"},
    ),
    (
        "expired-link-unused",
        "The deadline passed, and nobody is known to have used the link; an amendment may follow.",
        Outcome.EXPIRED,
        Reason.DEADLINE_PASSED,
        "the deadline passed, and nothing shows that the link or token was used",
        _SET_OUT,
    ),
    (
        "undetermined-run-unknown",
        "Whether the workflow was started is not known; an amendment may follow.",
        Outcome.UNDETERMINED,
        Reason.RUN_UNKNOWN,
        "whether the workflow was started is not known: its call was not answered and no trace of it came",
        {**_SET_OUT, "candidates": (WORKFLOW_ID, OTHER_WORKFLOW_ID)},
    ),
    (
        "undetermined-claimed-twice",
        "Its workflow belongs to another request already.",
        Outcome.UNDETERMINED,
        Reason.WORKFLOW_CLAIMED_TWICE,
        "another request holds this workflow",
        {**_SET_OUT, "candidates": (WORKFLOW_ID,)},
    ),
    (
        "undetermined-custody-unreadable",
        "The processor's own record of the request is damaged.",
        Outcome.UNDETERMINED,
        Reason.CUSTODY_UNREADABLE,
        "the message that carried this request to its end cannot be read",
        {"candidates": (WORKFLOW_ID,), "origin": bare_origin("kit-undetermined-custody-unreadable")},
    ),
    (
        "undetermined-given-up",
        "A person gave it up.",
        Outcome.UNDETERMINED,
        Reason.GIVEN_UP,
        "a person gave up on finding out whether the workflow was started",
        _SET_OUT,
    ),
)


def _not_well_ended() -> Sequence[Result]:
    again = "Write it under (requestId, revision). Ask again, if at all, with a new request id."
    later = "Write it under (requestId, revision), and be ready for revision 2."
    return (
        Result("failed", "The provider says that the workflow ended badly.", _badly("failed"), again),
        *(
            Result(
                name,
                what,
                replace(_ended(name, outcome, reason, message), **more),
                again if outcome is Outcome.NOT_STARTED else later,
            )
            for name, what, outcome, reason, message, more in _NOT_ENDED
        ),
    )


def _badly(name: str) -> Finished:
    """Return a result of a workflow that the provider says ended badly."""
    return replace(
        _completed(name),
        outcome=Outcome.FAILED,
        decision=None,
        status="FAILED",
        result=None,
        result_hash=None,
        result_bytes=None,
        completed_by=Witness.POLL,
        reason=Reason.ENDED_BADLY,
        message="the provider says that it ended badly, read twice",
    )


def _late(event: Finished) -> Finished:
    """Return a result as the amendment that it is when it comes a day after the deadline."""
    at = AT + 8 * DAY_MS
    return replace(event, revision=2, finished_at=at, seen_at=at - 400)


def _amended() -> Sequence[Result]:
    """Return amendments: the real outcome came after the result."""
    takes = (
        "It takes the place of revision 1: act on the new outcome. If revision 1 comes again after it, keep this one."
    )
    completed, walked = _late(_completed("expired-before-end")), _late(_completed("expired-link-unused"))
    failed = _late(_badly("undetermined-run-unknown"))
    return (
        Result("amended-to-completed", "Revision 2 of `expired-before-end`: it completed after all.", completed, takes),
        Result("amended-to-failed", "Revision 2 of `undetermined-run-unknown`: it ended badly.", failed, takes),
        Result("amended-link", "Revision 2 of `expired-link-unused`: the person came late.", walked, takes),
    )


def _of_other_builds() -> Sequence[Result]:
    """Return what an older and a newer build write, and a result that never became true."""
    phantom = replace(
        _ended("completed-by-webhook", Outcome.EXPIRED, Reason.DEADLINE_PASSED, _NO_END),
        workflow_id=WORKFLOW_ID,
        record_id=RECORD_ID,
    )
    aside = "Read it as UNRECOGNIZED: keep the event aside, alert, do not guess; never stop the partition."
    return (
        Result(
            "older-schema",
            "Written with version 1 of the schema, which has no `isRerun`.",
            _completed("older-schema"),
            "Write it under (requestId, revision); `isRerun` is null: the processor did not say.",
            version=1,
        ),
        Result(
            "newer-outcome",
            "Written by a newer build: an outcome that this schema does not know, and a field more.",
            _completed("newer-outcome"),
            f"{aside} Pass over `addedLater`.",
            version=NEWER,
            newer=(("outcome", "WITHDRAWN"), ("addedLater", "2026")),
        ),
        Result(
            "newer-witness",
            "Written by a newer build: a `completedBy` that this schema does not know.",
            _completed("newer-witness"),
            "Write it under (requestId, revision); only who told first is unknown.",
            version=NEWER,
            newer=(("completedBy", "CALLBACK"),),
        ),
        Result(
            "phantom-of-completed-by-webhook",
            "A result that never became true: its transaction was aborted, and the request was decided anew as "
            "`completed-by-webhook`, with the same `eventId`.",
            phantom,
            "Never see it: read with isolation.level=read_committed. No field tells it from a real one.",
        ),
    )
