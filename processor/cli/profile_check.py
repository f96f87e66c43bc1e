"""What of a provider profile does not fit settings and catalogue, and what to change; pure."""

from collections.abc import Iterator, Sequence
from itertools import chain

from processor.adapters.profile_file import ProviderProfile
from processor.adapters.topic_rules import Grade
from processor.cli.findings import Finding
from processor.core.catalogue import Adoption, Catalogue, ResultShape, Workflow
from processor.core.model import ApiVersion
from processor.settings import ApiSettings, Settings, profile_prefix

AREA = "profile"
RUN_ID_PATH = "id"  # What this build reads; it is documented, so it is no setting.

# Member of a webhook -> the setting of its paths, and what happens where it is not read.
_PATHS = {
    "workflowId": ("workflow_id_paths", Grade.PROBLEM, "no webhook would be told of any workflow"),
    "status": ("status_paths", Grade.WARNING, "webhooks would not show a status in logs"),
    "kind": ("kind_paths", Grade.WARNING, "webhooks would not show their kind"),
    "recordId": ("record_id_paths", Grade.WARNING, "webhooks would not show their record"),
    "caseId": ("case_id_paths", Grade.WARNING, "webhooks would not show their case"),
    "definitionId": ("definition_id_paths", Grade.WARNING, "webhooks would not show their definition"),
}
# Key of a profile's parameters -> the setting of the API.
_PARAMETERS = {
    "path": "parameters_path",
    "definitionMember": "parameters_definition_member",
    "valuesMember": "parameters_member",
    "idPath": "parameters_id_path",
}


def profile_findings(
    profile: ProviderProfile, settings: Settings, catalogue: Catalogue, provider: str
) -> list[Finding]:
    """Return what does not fit, or that everything does; `provider` names the workspace that was probed."""
    api = settings.profile(provider) or settings.api
    workflows = catalogue.serving(provider)
    found = [
        *_webhook(profile, settings),
        *_parameters(profile, api, profile_prefix(provider), workflows),
        *chain.from_iterable(_statuses(profile.status_words, workflow) for workflow in workflows),
        *_record(profile, workflows),
        *_run(profile),
        *_result(profile, workflows),
    ]
    return found or [Finding(AREA, provider, Grade.GOOD, "settings and catalogue fit what was seen")]


def _webhook(profile: ProviderProfile, settings: Settings) -> Iterator[Finding]:
    for member, seen in (profile.webhook or {}).items():
        name, grade, text = _PATHS[member]
        configured: Sequence[str] = getattr(settings.webhook, name)
        if seen and not set(seen) & set(configured):
            remedy = f"set it to {','.join((*seen, *configured))}"
            yield Finding(AREA, f"webhook {member}", grade, text, f"PROCESSOR_WEBHOOK__{name.upper()}", remedy)
    if profile.webhook is not None and not profile.webhook.get("workflowId"):
        text = (
            "no member of the webhook was the workflow id, so webhooks end as dead letters and only polls find an end"
        )
        remedy = "ask the provider which member names the execution"
        setting = "PROCESSOR_WEBHOOK__WORKFLOW_ID_PATHS"
        yield Finding(AREA, "webhook workflowId", Grade.WARNING, text, setting, remedy)


def _parameters(
    profile: ProviderProfile, api: ApiSettings, prefix: str, workflows: Sequence[Workflow]
) -> Iterator[Finding]:
    is_used = any(each.parameters is not None and each.api is not ApiVersion.TABLES for each in workflows)
    for member, seen in profile.parameters.items():
        name = _PARAMETERS[member]
        if seen != getattr(api, name):
            grade = Grade.PROBLEM if is_used else Grade.WARNING
            text = "parameter sets have another shape than the one that is sent or read"
            yield Finding(AREA, f"parameters {member}", grade, text, prefix + name.upper(), f"set it to {seen}")


def _statuses(words: Sequence[str], workflow: Workflow) -> Iterator[Finding]:
    """Yield what a workflow's status words make of those that were seen: all but the last run, the last ended well."""
    *running, last = [word.upper() for word in words] or [""]
    if last and last not in workflow.success:
        text = f"{last} ended well, and the catalogue does not say so: it would never complete"
        yield _status(workflow, Grade.PROBLEM, text, "success", last)
    for word in running:
        if word in workflow.success | workflow.failure:
            text = f"{word} was seen before the end, and the catalogue takes it as one"
            remedy = "take it out of success and failure, and write it to `statuses: {running: …}`"
            yield Finding(AREA, workflow.name, Grade.PROBLEM, text, "statuses (catalogue)", remedy)
        elif word not in workflow.running:
            text = f"{word} is not listed: each time it is seen an alarm is raised"
            yield _status(workflow, Grade.WARNING, text, "running", word)


def _status(workflow: Workflow, grade: Grade, text: str, key: str, word: str) -> Finding:
    listed = sorted({word, *getattr(workflow, key)})
    remedy = f"write `statuses: {{{key}: [{', '.join(listed)}]}}`"
    return Finding(AREA, workflow.name, grade, text, f"statuses.{key} (catalogue)", remedy)


def _record(profile: ProviderProfile, workflows: Sequence[Workflow]) -> Iterator[Finding]:
    if profile.is_record_shown is not False:
        return
    for workflow in workflows:
        if workflow.adoption is Adoption.RECORD:
            text = "a status does not tell the record, so a run whose answer was lost is not recognised by it"
            remedy = "write `adoption: parameters` with our `reference` among the parameters, where answers repeat them"
            yield Finding(AREA, workflow.name, Grade.WARNING, text, "adoption (catalogue)", remedy)


def _run(profile: ProviderProfile) -> Iterator[Finding]:
    if profile.run_id_path not in {None, RUN_ID_PATH}:
        text = f"the answer of a run holds its id at {profile.run_id_path}, and this build reads {RUN_ID_PATH}"
        remedy = "report it to those who make the processor: every run would count as unknown"
        yield Finding(AREA, "run idPath", Grade.PROBLEM, text, "", remedy)


def _result(profile: ProviderProfile, workflows: Sequence[Workflow]) -> Iterator[Finding]:
    if profile.is_result_available is not False:
        return
    for workflow in workflows:
        if workflow.result_shape is not ResultShape.NONE:
            text = "there is no result to read: each request would wait for it, and end without"
            remedy = "write `result: {publish: none}`"
            yield Finding(AREA, workflow.name, Grade.WARNING, text, "result.publish (catalogue)", remedy)
