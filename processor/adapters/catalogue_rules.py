"""What a workflow of the catalogue may not say together, although each part of it is good by itself.

A text names what contradicts and what to change. Nothing is refused here that could work.
"""

from collections.abc import Iterator
from typing import TypeAlias

from processor.core.catalogue import Adoption, Mode, ResultSource, UnknownPolicy, Workflow
from processor.core.model import DAY_MS, DEADLINE_MS_MAX, ApiVersion
from processor.core.paths import REFERENCE

REUSE_MS_MAX = 366 * DAY_MS  # Each subject that is remembered takes room in the state.

Told: TypeAlias = Iterator[tuple[str, str]]


def contradictions(workflow: Workflow) -> Told:
    """Yield key and text of what is good by itself but not together."""
    yield from _of_subject(workflow)
    yield from _of_sharing(workflow)
    yield from _of_links(workflow)
    yield from _of_adoption(workflow)
    yield from _of_cases(workflow)
    yield from _of_numbers(workflow)


def _has_record(workflow: Workflow) -> bool:
    return workflow.record is not None or workflow.is_record_given


def _has_case(workflow: Workflow) -> bool:
    return workflow.case is not None or workflow.is_case_given


def _of_subject(workflow: Workflow) -> Told:
    version = int(workflow.api)
    if _has_record(workflow) and _has_case(workflow):
        yield "case", "a workflow is for a record (api 2 or 3) or for a case (api 1), not for both; leave one out"
    elif workflow.api is ApiVersion.CASES and not _has_case(workflow):
        yield "api", "version 1 runs a workflow for a case; write `case:` with its members, `case: given`, or api 2"
    elif workflow.api is not ApiVersion.CASES and _has_case(workflow):
        yield "case", f"version {version} runs a workflow for a record; write `record:`, or api 1"


def _of_sharing(workflow: Workflow) -> Told:
    is_made = workflow.record is not None or workflow.case is not None
    is_any = _has_record(workflow) or _has_case(workflow)
    if workflow.is_exclusive and not is_any:
        yield "exclusive", "there is no record or case that could be shared; write one, or leave exclusive out"
    if workflow.reuse_ms is not None and not is_made:
        yield "reuse", "no record or case is made that could be used again; leave reuse out, or write how to make one"
    if workflow.reuse_ms is not None and workflow.reuse_ms > REUSE_MS_MAX:
        yield "reuse", "at most 366d, for each subject that is remembered takes room; lower it"


def _of_links(workflow: Workflow) -> Told:
    if workflow.mode is Mode.RUN:
        if workflow.is_newest_link:
            yield "links", "mode run issues no links; leave it out, or write another mode"
        return
    if workflow.api is ApiVersion.TABLES:
        if workflow.mode is Mode.LINK_SEND:
            yield "mode", "version 3 mails no links; write link and mail it yourself, or api 2"
        return
    if not (_has_record(workflow) or _has_case(workflow)):
        yield (
            "mode",
            (
                f"a {workflow.mode} of version {int(workflow.api)} is for a record, else nobody can tell what it "
                "started; write `record:`, `record: given`, or api 3"
            ),
        )
    elif workflow.adoption is Adoption.NONE and workflow.case_workflow_path is None:
        yield (
            "adoption",
            (
                f"a {workflow.mode} of version {int(workflow.api)} does not tell what is started with it, so without "
                "adoption every request would expire; write record, or api 3"
            ),
        )
    elif workflow.adoption is Adoption.RECORD and _is_shared(workflow) and not workflow.is_exclusive:
        yield (
            "exclusive",
            (
                "requests share the record or case that tells what an end user started, so a person would have to "
                "decide on each; write `exclusive: true` if nobody else starts workflows on it, or let each request "
                "have its own (`reuse: none`)"
            ),
        )
    if workflow.unknown_policy is UnknownPolicy.RERUN and workflow.mode is not Mode.LINK_SEND:
        yield "unknown", f"a {workflow.mode} whose answer was lost is issued again anyway; write `policy: hold`"


def _is_shared(workflow: Workflow) -> bool:
    return workflow.is_record_given or workflow.is_case_given or workflow.reuse_ms is not None


def _of_adoption(workflow: Workflow) -> Told:
    if workflow.adoption is Adoption.RECORD and not (_has_record(workflow) or _has_case(workflow)):
        yield "adoption", "no record or case is there by which a run could be told; write one, or `adoption: none`"
    if workflow.adoption is Adoption.PARAMETERS and REFERENCE not in (workflow.parameters or {}).values():
        yield (
            "adoption",
            (
                f"our own reference among its parameters tells a run; write one with the path {REFERENCE}, "
                f"like `parameters: {{ref: {REFERENCE}}}`"
            ),
        )


def _of_cases(workflow: Workflow) -> Told:
    is_of_cases = workflow.api is ApiVersion.CASES
    if workflow.result_source is ResultSource.CASE and not is_of_cases:
        yield "result", f"version {int(workflow.api)} has no case to read a result from; write `from: workflow`"
    if workflow.case_workflow_path is not None and not is_of_cases:
        yield "caseRead", f"version {int(workflow.api)} has no cases; leave it out, or write api 1"
    elif workflow.case_workflow_path is not None and workflow.case is None:
        yield "caseRead", "only a case made for the request shows its workflow; leave it out, or write `case:`"
    if is_of_cases and workflow.mode is Mode.LINK_SEND and workflow.case and "email" not in workflow.case.fields:
        yield "case", "version 1 mails a link to the case's address; write `email:` below it, like `subject.email`"


def _of_numbers(workflow: Workflow) -> Told:
    if both := sorted(workflow.success & workflow.failure):
        yield "statuses", f"{both[0]} is success and failure; write the other list without it"
    if workflow.deadline_ms > DEADLINE_MS_MAX:
        yield "deadline", "at most 90d, for no request lives longer; lower it"
    if workflow.adoption_window_ms >= workflow.deadline_ms:
        yield "unknown", "the adoption window must end before the deadline; lower adoptionWindow"
