"""`processor held`: what waits for a person, and what the person decides.

The list is read from the state topics, so it needs no processor that runs. A decision is a record on launch's input:
launch alone acts on it, and refuses it visibly when the request has moved on.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from processor.adapters.api_requests import ID_CHARS_MAX, path_segment
from processor.adapters.codec import Codec
from processor.adapters.event_headers import rfc3339
from processor.adapters.state_reader import Held, Parked, StateView
from processor.adapters.topic_reader import FIRST
from processor.cli.decisions import Seen, decide
from processor.cli.options import AsJson, Brokers, Yes
from processor.cli.output import complain, confirm, say, say_json, say_table
from processor.cli.starting import overrides_of, reader_for, settings_for
from processor.core.keys import canonical_id
from processor.core.messages import Observed, Resolution
from processor.core.state import Issued
from processor.errors import ProcessorError
from processor.roles.machines import CompletionMachine, LaunchMachine, PreparationMachine
from processor.settings import Settings
from processor.settings_loading import Need

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Show the requests of which nobody knows the run, and decide about one.",
)
RequestId = Annotated[str, typer.Argument(metavar="ID", help="Id of the request.")]
TELL_EVERY = 500_000
CHOICES = "--started WORKFLOW_ID | --not-executed | --give-up"
LINK_CHOICES = "--started WORKFLOW_ID | --give-up"
MACHINES = (PreparationMachine, LaunchMachine, CompletionMachine)


class NotHeld(ProcessorError):
    """No request of that id waits for a person."""


@app.command("list", epilog="Example: processor held list --json")
def list_held(as_json: AsJson = False, bootstrap_servers: Brokers = None) -> None:
    """List the requests of which nobody knows the run, and the keys that are set aside because a rule failed on them.

    `unknown`: the adoption window is still open. `held`: it is over, and a person may decide. `gathering`, `certain`:
    by the catalogue it is run again, as soon as all webhooks are judged; a person may decide before. `issued`: the end
    user has a link, and which of several workflows came of it only a person can say.
    """
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    views = [view_of(settings, machine.name, machine.gauges) for machine in MACHINES]
    held = [found for view in views for found in view.held()]
    parked = [found for view in views for found in view.parked()]
    if as_json:
        say_json({"held": [held_json(found) for found in held], "parked": [_parked_json(found) for found in parked]})
        return
    if held:
        say_table(COLUMNS, [_row(found) for found in held])
    else:
        complain("no request waits for a person")
    if parked:
        say_table(
            ("set aside by", "partition", "facts", "build that failed"),
            [(found.decider, found.partition, found.facts, found.build) for found in parked],
        )
        complain("what is set aside is tried again by each new build; report it to those who make the processor")


@app.command(epilog="Example: processor held show r-17")
def show(request_id: RequestId, as_json: AsJson = False, bootstrap_servers: Brokers = None) -> None:
    """Show one request of which nobody knows the run: what was tried, and the workflows that may be its run.

    One whose end user has a link is shown too, though nothing was seen of it yet.
    """
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    held = find(settings, request_id)
    if as_json:
        say_json(held_json(held))
        return
    say_table(("", ""), [(name, value) for name, value in held_json(held).items() if name != "candidates"])
    if held.candidates:
        say("workflows that were seen on its record and belong to no request yet:")
        say_table(
            ("workflow", "status", "webhook came"),
            [(seen.workflow_id, seen.status, rfc3339(seen.received_at)) for seen in held.candidates],
        )
    choices = LINK_CHOICES if isinstance(held.part, Issued) else CHOICES
    say(f"ask the provider, then: processor held resolve {request_id} {choices}")


@app.command(epilog="Example: processor held resolve r-17 --started 0b6f1a52")
def resolve(
    request_id: RequestId,
    *,
    started: Annotated[
        str | None, typer.Option("--started", metavar="WORKFLOW_ID", help="It did run, as this workflow.")
    ] = None,
    not_executed: Annotated[
        bool, typer.Option("--not-executed", help="The provider says that it did not run: run it again.")
    ] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Nobody can tell: end it UNDETERMINED.")] = False,
    yes: Yes = False,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the effect.")] = 15.0,
    as_json: AsJson = False,
    bootstrap_servers: Brokers = None,
) -> None:
    """Decide about a request of which nobody knows the run.

    Only say what the provider has told you: `--not-executed` about a run that did happen runs the workflow twice. About
    a link it means nothing: the end user has it. `--started` with the workflow of somebody else publishes their result;
    one that was not seen on the request's record is told before the question, and with `--yes` too.
    """
    started = None if started is None else started.strip()
    resolution = _resolution(started, not_executed=not_executed, give_up=give_up)
    settings = settings_for(Need.KAFKA, overrides=overrides_of(bootstrap_servers))
    held = find(settings, request_id)
    if resolution is Resolution.NOT_EXECUTED and isinstance(held.part, Issued):
        raise typer.BadParameter(f"the end user has a link; say one of {LINK_CHOICES}")
    if started is not None and not is_seen(held, started):
        complain(unseen_text(held, started))
    if not yes:
        confirm(_question(held, resolution, started))
    seen = decide(settings, held, resolution, started, wait_s=wait_s)
    _tell(seen, held, as_json=as_json)


def view_of(settings: Settings, decider: str, gauges: Sequence[str], sought: str | None = None) -> StateView:
    """Read a decider's state topic whole; `sought` as in StateView. Raises BrokerUnavailable, StateUnreadable."""
    topic = getattr(settings.topics, f"{decider}_state")
    view = StateView(decider, Codec(write_format=settings.state.write_format), gauges, sought)
    with reader_for(settings) as reader:
        reader.begin([topic], FIRST)
        for count, record in enumerate(reader.until_end(), start=1):
            view.fold(record)
            if count % TELL_EVERY == 0:
                complain(f"{count} records of {topic} read")
    return view


def find(settings: Settings, request_id: str) -> Held:
    """Return a request of which nobody knows the run; raises NotHeld when there is none of that id."""
    for held in view_of(settings, LaunchMachine.name, LaunchMachine.gauges, request_id).held():
        if held.request_id == request_id:
            return held
    raise NotHeld(
        f"request {request_id} does not wait for a person: its run is not unknown, it has ended, or it never came; "
        "`processor held list` shows those that wait"
    )


def is_seen(held: Held, workflow_id: str) -> bool:
    """Whether a workflow is among those that were seen on the request's record or case."""
    return canonical_id(workflow_id) in {canonical_id(seen.workflow_id) for seen in held.candidates}


def unseen_text(held: Held, workflow_id: str) -> str:
    """Return what a person should know who names a workflow of which nothing was seen."""
    seen = ", ".join(each.workflow_id for each in held.candidates) or "none"
    return (
        f"workflow {workflow_id} is no candidate: no webhook or status showed it on the record or case of "
        f"{held.request_id} (seen there: {seen}); compare it with the provider's own list"
    )


def held_json(held: Held) -> Mapping[str, Any]:
    """Return a request that a person may decide about, for programs; it holds no personal data."""
    prepared = held.prepared
    return {
        "requestId": held.request_id,
        "workflow": prepared.origin.workflow,
        "state": held.state,
        "recordId": prepared.record_id,
        "caseId": prepared.case_id,
        "attempt": held.attempt,
        "since": None if held.since is None else rfc3339(held.since),
        "deadline": rfc3339(prepared.origin.deadline_at),
        "why": held.why,
        "waitingBehind": held.waiting_behind,
        "candidates": [_candidate_json(seen) for seen in held.candidates],
    }


COLUMNS = ("request", "workflow", "state", "record or case", "attempt", "since", "deadline", "candidates", "why")


def _row(held: Held) -> Sequence[object]:
    shown = held_json(held)
    record = shown["recordId"] or shown["caseId"]
    names = ("attempt", "since", "deadline")
    candidates = ", ".join(seen.workflow_id for seen in held.candidates)
    return (
        *(shown[name] for name in ("requestId", "workflow", "state")),
        record,
        *(shown[name] for name in names),
        candidates,
        shown["why"],
    )


def _candidate_json(seen: Observed) -> Mapping[str, Any]:
    return {"workflowId": seen.workflow_id, "status": seen.status, "receivedAt": rfc3339(seen.received_at)}


def _parked_json(parked: Parked) -> Mapping[str, Any]:
    # The key stays out: preparation's is upstream's message key, which may name a person.
    return {
        "decider": parked.decider,
        "partition": parked.partition,
        "facts": parked.facts,
        "build": parked.build,
    }


def _resolution(started: str | None, *, not_executed: bool, give_up: bool) -> Resolution:
    if (started is not None) + not_executed + give_up != 1:
        raise typer.BadParameter("say one of --started WORKFLOW_ID, --not-executed and --give-up")
    if started is not None and path_segment(started) is None:
        text = f"name the workflow that was started: 1 to {ID_CHARS_MAX} printable characters, without / \\ ? # %"
        raise typer.BadParameter(text, param_hint="--started")
    if started is not None:
        return Resolution.STARTED
    return Resolution.NOT_EXECUTED if not_executed else Resolution.GIVE_UP


def _question(held: Held, resolution: Resolution, workflow_id: str | None) -> str:
    what = f"{held.prepared.origin.workflow} for request {held.request_id} (attempt {held.attempt})"
    match resolution:
        case Resolution.STARTED:
            return f"Is workflow {workflow_id} the run of {what}?"
        case Resolution.NOT_EXECUTED:
            return f"Does the provider say that {what} did not run, so that it may be run again?"
        case Resolution.GIVE_UP:
            return f"End {what} as UNDETERMINED?"


def _tell(seen: Seen, held: Held, *, as_json: bool) -> None:
    """Say what became of a decision; a refusal is exit code 1, no effect yet is 3."""
    if as_json:
        say_json({"requestId": held.request_id, "effect": seen.effect, "message": seen.message})
    elif seen.exit_code:
        complain(seen.message)
    else:
        say(seen.message)
    if seen.exit_code:
        raise typer.Exit(seen.exit_code)
