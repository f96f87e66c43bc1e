"""What a probe teaches: a provider profile, made of what was seen and of nothing else; pure."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from processor.adapters.profile_file import WEBHOOK_MEMBERS, ProviderProfile
from processor.adapters.shapes import leaves_of, paths_to
from processor.cli.probe_talk import End, Exchange, Talk
from processor.core.keys import canonical_id
from processor.core.proof import Operation
from processor.settings import ApiSettings, WebhookSettings

KIND_NAMES: Final = frozenset({"type", "event", "eventType", "kind", "name"})


def profile_of(talk: Talk, api: ApiSettings, webhook: WebhookSettings) -> ProviderProfile:
    """Return the profile of the workspace that was probed."""
    return ProviderProfile(
        webhook=_webhook(talk, webhook) if talk.heard else None,
        parameters=_parameters(talk, api),
        status_words=tuple(talk.words) if talk.end is End.COMPLETED else (),
        is_record_shown=talk.is_record_shown,
        run_id_path=_run_id_path(talk),
        is_result_available=talk.is_result_available,
    )


def is_success(exchange: Exchange) -> bool:
    """Say whether a call was answered with one of the 2xx."""
    return exchange.status is not None and 200 <= exchange.status < 300  # noqa: PLR2004  # RFC 9110, 15.3


def status_words(talk: Talk) -> frozenset[str]:
    """Return every word that is a status here, in upper case."""
    listed = talk.workflow.success | talk.workflow.failure | talk.workflow.running
    return listed | {word.upper() for word in talk.words}


def _webhook(talk: Talk, settings: WebhookSettings) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, tuple[Sequence[str], Callable[[str], bool]]] = {
        "workflowId": (settings.workflow_id_paths, _is(talk.ids.get("workflow"))),
        "status": (settings.status_paths, lambda text: text.upper() in status_words(talk)),
        "recordId": (settings.record_id_paths, _is(talk.ids.get("record"))),
        "caseId": (settings.case_id_paths, _is(talk.ids.get("case"))),
        "definitionId": (settings.definition_id_paths, _is(talk.workflow.definition)),
    }
    bodies = [heard.body for heard in talk.heard]
    found = {name: _paths(bodies, *how) for name, how in wanted.items()}
    return {name: found[name] if name in found else _kind_paths(bodies, settings) for name in WEBHOOK_MEMBERS}


def _paths(bodies: Sequence[Any], configured: Sequence[str], is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return where it was, first where the settings look, then what is named like a status: the first path counts."""
    seen = dict.fromkeys(path for body in bodies for path in paths_to(body, is_wanted))
    others = sorted((path for path in seen if path not in configured), key=lambda path: not _is_status_name(path))
    return (*(path for path in configured if path in seen), *others)


def _is_status_name(path: str) -> bool:
    return path.rpartition(".")[2].lower().startswith("stat")


def _kind_paths(bodies: Sequence[Any], settings: WebhookSettings) -> tuple[str, ...]:
    """Return where the kind seems to be: where the settings look, or a member that is named like one."""
    seen = dict.fromkeys(path for body in bodies for path, _ in leaves_of(body))
    named = [path for path in seen if path in settings.kind_paths]
    return tuple(named or [path for path in seen if path.rpartition(".")[2] in KIND_NAMES][:1])


def _is(known: str | None) -> Callable[[str], bool]:
    return lambda text: known is not None and canonical_id(text) == canonical_id(known)


def _parameters(talk: Talk, api: ApiSettings) -> dict[str, str]:
    """Return the shape that was taken, with the path where the id was."""
    made = next((each for each in talk.exchanges if each.step == Operation.SET_PARAMETERS and is_success(each)), None)
    if made is None:
        return {}
    paths = paths_to(made.value, _is(talk.ids.get("parameters")))
    shape = {
        "path": api.parameters_path,
        "definitionMember": api.parameters_definition_member,
        "valuesMember": api.parameters_member,
    }
    return {**shape, "idPath": paths[0]} if paths else shape


def _run_id_path(talk: Talk) -> str | None:
    runs = [each for each in talk.exchanges if each.step == Operation.RUN and is_success(each)]
    paths = paths_to(runs[0].value, _is(talk.ids.get("workflow"))) if runs else ()
    return "id" if "id" in paths else next(iter(paths), None)
