"""Reads workflows.yaml: the whole file is checked, and every problem told with file, line, name and remedy."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from processor.adapters.catalogue_entry import read_workflow
from processor.adapters.yaml_section import Problems, Section, compose
from processor.core.catalogue import Catalogue, Workflow
from processor.core.model import DEFAULT_PROVIDER, ApiVersion
from processor.settings import Settings

# Profiles that a catalogue may name, and the version of the API that workflows of each speak unless they say another.
DEFAULT_PROVIDERS: Mapping[str, ApiVersion] = {DEFAULT_PROVIDER: ApiVersion.RECORDS}


def catalogue_of(settings: Settings, path: Path | None = None) -> Catalogue:
    """Return the catalogue of these settings, or that of another file; raises SettingsInvalid."""
    return load_catalogue(
        path or settings.workflows.file,
        providers={name: ApiVersion(profile.version) for name, profile in settings.profiles().items()},
        results_topic=settings.topics.results,
    )


def load_catalogue(
    path: Path,
    *,
    providers: Mapping[str, ApiVersion] = DEFAULT_PROVIDERS,
    results_topic: str = "onboarding.results",
) -> Catalogue:
    """Return the catalogue; raises SettingsInvalid that names every problem in the file.

    `providers` holds the profiles that are set, with the version of workflows that name none; `results_topic` is for
    those that name no topic.
    """
    problems = Problems(path.name)
    top = Section(compose(path), "", problems, ("version", "workflows"))
    if not top.names():
        problems.refuse()
    if top.text("version") != "1":
        top.problem("version", "this build reads version 1; write `version: 1`")
    named = top.section("workflows", None)
    if named is None or not named.names():
        top.problem("workflows", "there is no workflow; write at least one below `workflows:`")
    workflows = {name: read_workflow(named, name, providers) for name in named.names()} if named else {}
    problems.refuse()
    return Catalogue({name: found for name, found in workflows.items() if found}, results_topic)


def fault_fingerprint(workflow: Workflow, credentials_hash: str) -> str:
    """Return a short hash of all that a refusal could be the fault of: what we send, where, and as whom.

    It changes when an operator mends the workflow or its credentials, and with nothing else.
    """
    sent = (
        workflow.provider,
        workflow.definition,
        int(workflow.api),
        workflow.mode,
        dataclasses.asdict(workflow.record) if workflow.record else None,
        dataclasses.asdict(workflow.case) if workflow.case else None,
        workflow.parameters,
        workflow.email_path,
        credentials_hash,
    )
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()[:16]
