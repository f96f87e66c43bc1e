"""What a probe teaches: a provider profile, made of what was seen and of nothing else; pure.

It knows as well which words may be told at which members: the same word elsewhere is a value, and may be of a person.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from processor.adapters.profile_file import WEBHOOK_MEMBERS, ProviderProfile
from processor.adapters.shapes import Known, Words, leaves_of, paths_to
from processor.cli.probe_talk import End, Exchange, Talk
from processor.core.keys import canonical_id
from processor.core.paths import value_in
from processor.core.proof import Operation
from processor.settings import ApiSettings, WebhookSettings

KIND_NAMES: Final = frozenset({"type", "event", "eventType", "kind", "name"})
STATUS_MEMBER: Final = "status"  # Of the answers that tell one.
TELLS_STATUS: Final = frozenset({Operation.RUN, Operation.READ_STATUS})

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,63}")
_CODE = re.compile(r"[A-Z][A-Z0-9_.-]{1,63}")


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


def status_texts(talk: Talk) -> Known:
    """Return every status word by its lower case, spelt as it was seen."""
    return {word.lower(): word for word in (*status_words(talk), *talk.words)}


def words_of_answer(talk: Talk, exchange: Exchange) -> Words:
    """Return what an answer tells in words: the status of a workflow where its kind has one, and codes of errors."""
    words: dict[str, Known] = {STATUS_MEMBER: status_texts(talk)} if exchange.step in TELLS_STATUS else {}
    if exchange.status is not None and not is_success(exchange) and isinstance(exchange.value, dict):
        words["errors[].code"] = _codes(exchange.value.get("errors"))
    return words


def words_of_webhook(talk: Talk, body: Any, settings: WebhookSettings) -> Words:  # noqa: ANN401  # any JSON
    """Return what a webhook tells in words: its kind and its status, at the members that the settings name."""
    kinds = {path: value_in(body, path) for path in settings.kind_paths}
    told = {
        path: {kind.lower(): kind} for path, kind in kinds.items() if isinstance(kind, str) and _KIND.fullmatch(kind)
    }
    return {**told, **{path: {**told.get(path, {}), **status_texts(talk)} for path in settings.status_paths}}


def _codes(errors: object) -> Known:
    """Return the codes of an ErrorResponse, which are words of the provider's own."""
    codes = [error.get("code") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return {code.lower(): code for code in codes if isinstance(code, str) and _CODE.fullmatch(code)}


def _webhook(talk: Talk, settings: WebhookSettings) -> dict[str, tuple[str, ...]]:
    wanted: dict[str, tuple[Sequence[str], Callable[[str], bool]]] = {
        "workflowId": (settings.workflow_id_paths, _is(talk.ids.get("workflow"))),
        "recordId": (settings.record_id_paths, _is(talk.ids.get("record"))),
        "caseId": (settings.case_id_paths, _is(talk.ids.get("case"))),
        "definitionId": (settings.definition_id_paths, _is(talk.workflow.definition)),
    }
    bodies = [heard.body for heard in talk.heard]
    found = {name: _paths(bodies, *how) for name, how in wanted.items()}
    found |= {"status": _status_paths(talk, bodies, settings), "kind": _kind_paths(bodies, settings)}
    return {name: found[name] for name in WEBHOOK_MEMBERS}


def _paths(bodies: Sequence[Any], configured: Sequence[str], is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
    """Return where it was, first where the settings look: the first path counts."""
    seen = dict.fromkeys(path for body in bodies for path in paths_to(body, is_wanted))
    return (*(path for path in configured if path in seen), *(path for path in seen if path not in configured))


def _status_paths(talk: Talk, bodies: Sequence[Any], settings: WebhookSettings) -> tuple[str, ...]:
    """Return where the status is: where the settings look, else what is named like one, else what says the same words.

    A word can stand at other members by chance. So what the settings name, and holds one, is all that counts; and a
    member that only says what a status read said is none while it is named like a kind.
    """
    listed, read = status_words(talk), {word.upper() for word in talk.words}
    seen = dict.fromkeys(path for body in bodies for path in paths_to(body, lambda text: text.upper() in listed))
    alike = dict.fromkeys(path for body in bodies for path in paths_to(body, lambda text: text.upper() in read))
    configured = tuple(path for path in settings.status_paths if path in seen)
    kinds = {*settings.kind_paths, *_kind_paths(bodies, settings)}
    return (
        configured
        or tuple(path for path in seen if _last(path).lower().startswith("stat"))
        or tuple(path for path in alike if path not in kinds and _last(path) not in KIND_NAMES)
    )


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _kind_paths(bodies: Sequence[Any], settings: WebhookSettings) -> tuple[str, ...]:
    """Return where the kind seems to be: where the settings look, or a member that is named like one."""
    seen = dict.fromkeys(path for body in bodies for path, _ in leaves_of(body))
    named = [path for path in seen if path in settings.kind_paths]
    return tuple(named or [path for path in seen if _last(path) in KIND_NAMES][:1])


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
