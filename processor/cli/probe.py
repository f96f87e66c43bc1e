"""`processor probe`: one real run at the provider, to learn what nobody documents.

It writes a provider profile for `check` and `simulate`, a report without values, and a masked recording.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from processor.adapters.avro_records import request_of
from processor.adapters.catalogue_file import catalogue_of
from processor.adapters.profile_file import profile_text
from processor.adapters.request_lines import KeyPath, read_request_line
from processor.adapters.topic_rules import Grade
from processor.cli.findings import Finding, finding_json, is_bad
from processor.cli.options import AsJson, Yes
from processor.cli.output import complain, confirm, say, say_json
from processor.cli.probe_learn import profile_of
from processor.cli.probe_record import recording_text
from processor.cli.probe_report import report_text
from processor.cli.probe_run import Patience, Prober
from processor.cli.probe_talk import End, Talk
from processor.cli.probe_webhooks import WebhookEar, listening
from processor.cli.profile_check import profile_findings
from processor.cli.starting import now, quiet_logs, settings_for
from processor.core.catalogue import Catalogue, Workflow
from processor.core.messages import LinkIssued
from processor.core.model import OnboardingRequest
from processor.errors import SettingsInvalid
from processor.settings import ApiSettings, Settings
from processor.settings_loading import Need
from processor.wording import counted

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be probed, and how."""

    settings: Settings
    catalogue: Catalogue
    workflow: Workflow
    api: ApiSettings
    request: OnboardingRequest
    patience: Patience
    webhook_port: int | None


@dataclass(frozen=True, slots=True)
class Files:
    """What is written, where it was asked for."""

    profile: Path | None
    report: Path | None
    record: Path | None


@app.command(
    epilog="Example: processor probe person-check --request one.jsonl --profile profile.yaml --report probe.md"
)
def probe(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of a workflow in the catalogue.")],
    *,
    request: Annotated[Path, typer.Option("--request", metavar="FILE", help="One request, as `publish` takes it.")],
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="Provider profile to write, YAML.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Report to write, Markdown.")] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Recording to write, for simulate --replay.")
    ] = None,
    webhook_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Take webhooks on this port while the probe runs.")
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to follow the workflow.")] = 300.0,
    poll_s: Annotated[float, typer.Option("--poll", min=0.05, help="Seconds between two reads.")] = 2.0,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make ONE real run of a workflow, and write down what the provider answers.

    Make a definition for it, and a request of a person who does not exist. The run costs what a run costs. Files that
    are written hold no values: look through a recording all the same before you give it to anybody.
    """
    files = Files(profile, report, record)
    settings = settings_for(Need.API)
    plan = _plan(settings, workflow, request, Patience(wait_s, poll_s), webhook_port)
    _check_writable(files)
    if not yes:
        confirm(_question(plan))
    began_at = now()
    talk = Talk(plan.workflow, plan.request.request_id)
    try:
        with quiet_logs():
            asyncio.run(_probe(plan, talk))
    except KeyboardInterrupt:
        complain("interrupted; what was seen until now is told")
    findings = _findings(plan, talk)
    text = report_text(talk, findings, began_at, plan.settings.webhook)
    is_written = _write(files, plan, talk, text)
    _tell(talk, findings, "" if report is not None and is_written else text, as_json=as_json)
    if talk.end is not End.COMPLETED or is_bad(findings) or not is_written:
        raise typer.Exit(1)


async def _probe(plan: Plan, talk: Talk) -> None:
    prober = Prober(talk, plan.catalogue, plan.api, clock=now, show_link=_show_link)
    ear: WebhookEar | None = None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(prober.close)
        if plan.webhook_port is not None:
            hearing = listening(plan.settings, plan.workflow.provider, plan.api, plan.webhook_port, now)
            ear = await stack.enter_async_context(hearing)
        await prober.authorize()
        await prober.begin(plan.request)
        if talk.end in {End.RUNNING, End.NO_WORKFLOW_ID}:
            complain("the workflow is started; it is followed to its end")
            await prober.follow(plan.patience, ear)
        talk.refused = ear.refused if ear is not None else 0


def _plan(settings: Settings, name: str, request: Path, patience: Patience, webhook_port: int | None) -> Plan:
    """Return what is to be probed; raises SettingsInvalid, RequestRejected, and BadParameter for what was typed."""
    catalogue = catalogue_of(settings)
    workflow = catalogue.find(name)
    if workflow is None:
        raise typer.BadParameter(f"the catalogue has {', '.join(sorted(catalogue.workflows))}", param_hint="WORKFLOW")
    api = settings.profile(workflow.provider)
    if api is None:
        raise SettingsInvalid(f"{name}: its provider profile {workflow.provider} is not configured")
    found = _request(request)
    if found.workflow != name:
        raise typer.BadParameter(f"the request is for {found.workflow}; write {name} there", param_hint="--request")
    return Plan(settings, catalogue, workflow, api, found, patience, webhook_port)


def _request(file: Path) -> OnboardingRequest:
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read ({type(error).__name__})", param_hint="--request") from None
    if len(lines) != 1:
        raise typer.BadParameter(
            f"{file} has {counted(len(lines), 'request')}; a probe takes one", param_hint="--request"
        )
    return request_of(read_request_line(lines[0], now=now(), key=KeyPath(None)).record)


def _check_writable(files: Files) -> None:
    """Refuse a directory that is not there before anything is run."""
    for file in (files.profile, files.report, files.record):
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"{file.parent} is no directory; make it first")


def _question(plan: Plan) -> str:
    workflow = plan.workflow
    return (
        f"This makes ONE real run of {workflow.name} (definition {workflow.definition}, mode {workflow.mode}) at "
        f"{plan.api.base_url}, profile {workflow.provider}, for request {plan.request.request_id}. It costs what a run "
        "costs, and cannot be called back. Run it?"
    )


def _show_link(issued: LinkIssued) -> None:
    """Give the person at the terminal what the end user needs; it is a secret, and is written nowhere."""
    if issued.link is not None:
        complain(f"open this link as the end user: {issued.link}")
    elif issued.token is not None:
        complain(f"start the widget with this token: {issued.token}")
    else:
        complain("the provider mails the link to the end user")


def _findings(plan: Plan, talk: Talk) -> list[Finding]:
    profile = profile_of(talk, plan.api, plan.settings.webhook)
    found = profile_findings(profile, plan.settings, plan.catalogue, plan.workflow.provider)
    if plan.webhook_port is not None and not talk.heard and talk.end in {End.COMPLETED, End.FAILED}:
        text = f"no webhook came ({talk.refused} were not believed)"
        remedy = "see that the provider's dashboard has this address, and that it can be reached from outside"
        found.append(
            Finding("webhooks", plan.workflow.provider, Grade.WARNING, text, "PROCESSOR_WEBHOOK__PATH", remedy)
        )
    return found


def _write(files: Files, plan: Plan, talk: Talk, report: str) -> bool:
    """Write what was asked for and say whether all of it could be written: a run is not made again for a full disk."""
    profile = profile_of(talk, plan.api, plan.settings.webhook)
    texts: Mapping[str, tuple[Path | None, str]] = {
        "profile": (files.profile, profile_text(profile)),
        "report": (files.report, report),
        "recording": (files.record, recording_text(talk, plan.settings.webhook)),
    }
    is_written = True
    for what, (file, text) in texts.items():
        if file is None:
            continue
        try:
            file.write_text(text, encoding="utf-8")
            complain(f"{what} written to {file}")
        except OSError as error:
            is_written = False
            complain(f"the {what} cannot be written to {file} ({error.strerror})")
    return is_written


def _tell(talk: Talk, findings: list[Finding], report: str, *, as_json: bool) -> None:
    if as_json:
        say_json(
            {
                "workflow": talk.workflow.name,
                "requestId": talk.request_id,
                "workflowId": talk.ids.get("workflow"),
                "end": talk.end,
                "why": talk.why,
                "statusWords": list(talk.words),
                "webhooks": len(talk.heard),
                "findings": [finding_json(each) for each in findings],
            }
        )
    else:
        say(report or f"{talk.workflow.name}: {talk.end}{f' ({talk.why})' if talk.why else ''}")
