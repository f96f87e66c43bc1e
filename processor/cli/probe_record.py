"""A probe as a recorded conversation that `processor simulate --replay` plays back, masked; pure.

Ids that the provider made become placeholders that follow the caller, what the caller sent is taken from its body, and
every other value is replaced by one of the same type. What is kept: names of members, codes of errors, and words at
the members that tell a status or the kind of a webhook.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from processor.adapters.shapes import Known, Mask
from processor.cli.probe_learn import is_success, words_of_answer, words_of_webhook
from processor.cli.probe_talk import Exchange, Heard, Stage, Talk
from processor.core.keys import canonical_id
from processor.core.proof import STARTS, Operation
from processor.settings import WebhookSettings

# What a call makes, and so the name of the placeholder for its id.
MADE: Final[Mapping[str, str]] = {
    Operation.CREATE_RECORD: "record",
    Operation.CREATE_CASE: "case",
    Operation.SET_PARAMETERS: "parameters",
    Operation.RUN: "workflow",
}


def recording_text(talk: Talk, webhook: WebhookSettings) -> str:
    """Return the recording, one exchange a line, repeated ones once.

    The paths of `webhook` lead to the kind and the status of a webhook, which are kept.
    """
    mask = Mask()
    lines = [json.dumps(_line(talk, each, mask, webhook)) for each in talk.exchanges if _is_kept(each)]
    return "".join(f"{line}\n" for line, before in zip(lines, ["", *lines], strict=False) if line != before)


def _is_kept(exchange: Exchange) -> bool:
    """Leave out what was not answered, and what only a probe asks: the result of a workflow that still runs."""
    is_early = exchange.step == Operation.READ_RESULT and exchange.stage is Stage.RUNNING
    return exchange.status is not None and not is_early


def _line(talk: Talk, exchange: Exchange, mask: Mask, webhook: WebhookSettings) -> Mapping[str, Any]:
    known = {**_sent(talk, exchange), **_placed(talk, exchange)}
    request = {"method": exchange.method, "path": shown_path(talk, exchange), "accept": exchange.accept}
    if exchange.sent is not None:
        request["body"] = mask.masked(exchange.sent, _roles(talk), {})
    response: dict[str, Any] = {"status": exchange.status, "headers": dict(exchange.headers)}
    if exchange.value is not None:
        response["body"] = mask.masked(exchange.value, known, words_of_answer(talk, exchange))
    elif exchange.body:
        response["text"] = "masked"
    line: dict[str, Any] = {"request": request, "response": response}
    if exchange.step in STARTS and is_success(exchange) and talk.heard:
        known |= _made_later(talk)

        def told(heard: Heard) -> Mapping[str, Any]:
            body = mask.masked(heard.body, known, words_of_webhook(talk, heard.body, webhook))
            return {"afterMs": max(0, heard.at - exchange.at), "body": body}

        line["webhooks"] = [told(heard) for heard in talk.heard]
    return line


def _sent(talk: Talk, exchange: Exchange) -> Known:
    """Return what the caller said, in this call or in the start that a read follows."""
    start = next((each for each in talk.exchanges if each.step in STARTS), None)
    bodies = [exchange.sent] if exchange.sent is not None else [start.sent if start else None]
    members = [pair for body in bodies if isinstance(body, dict) for pair in body.items()]
    return {canonical_id(text): f"{{body.{name}}}" for name, text in members if isinstance(text, str) and text}


def _placed(talk: Talk, exchange: Exchange) -> Known:
    """Return the ids that this call made, or that stand in its path."""
    role = MADE.get(exchange.step)
    if role is not None and (made := talk.ids.get(role)) is not None:
        return {canonical_id(made): f"{{new.{role}}}"}
    return {canonical_id(talk.ids[role]): f"{{path.{role}Id}}" for role, _ in _in_path(talk, exchange)}


def _made_later(talk: Talk) -> Known:
    """Return the workflow's id, which a link's answer does not tell."""
    return {canonical_id(talk.ids["workflow"]): "{new.workflow}"} if "workflow" in talk.ids else {}


def _roles(talk: Talk) -> Known:
    return {canonical_id(text): f"({role} id)" for role, text in talk.ids.items()}


def shown_path(talk: Talk, exchange: Exchange) -> str:
    """Return the path of a call with the names of ids in their place."""
    path = exchange.path
    for role, text in _in_path(talk, exchange):
        path = path.replace(text, f"{{{role}Id}}")
    return path


def _in_path(talk: Talk, exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Yield the ids that are a segment of a call's path."""
    segments = exchange.path.partition("?")[0].split("/")
    yield from ((role, text) for role, text in talk.ids.items() if text in segments)
