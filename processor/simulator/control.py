"""The simulator's own routes under `/_simulator`, for tests and operators; they need no token.

- `GET ledger?since=N&limit=M&format=jsonl` · `GET counters`
- `GET faults` · `POST faults` with the fields to change
- `POST targets` with `urls` · `POST revoke` drops all access tokens
- `POST credentials` with `key` and `secret`: the only ones from now on; `POST credentials/revoke` drops the access
  tokens of those before
- `POST walk` with `link`, `token`, `workflowId` (version 3), `recordId` or `caseId` (and `workflowDefinitionId`): the
  end user comes now
- `POST rotate` signs webhooks with a new key, made or given as PEM text in `signingKey`
- `POST webhook` with `body` (JSON) or `text`, and optionally `signature` (good, none, wrong) and `url`: sent once,
  answers with the receiver's status.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl

import orjson

from processor.simulator.api import Api, Request
from processor.simulator.bodies import ledger_entry
from processor.simulator.delivery import Delivery
from processor.simulator.model import Answer, Counters, Refused, Webhook
from processor.simulator.provider import Provider
from processor.simulator.reading import object_in, text_in
from processor.simulator.settings import changed, shown, webhook_urls
from processor.simulator.signing import Keys, Signature

PREFIX = "/_simulator/"
PAGE_DEFAULT = 1_000
PAGE_MAX = 10_000


class Control:
    """Shows and changes a running simulator."""

    def __init__(self, provider: Provider, api: Api, delivery: Delivery, keys: Keys, counters: Counters) -> None:
        self._provider = provider
        self._api = api
        self._delivery = delivery
        self._keys = keys
        self._counters = counters
        self._handlers: Mapping[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "ledger"): self._ledger,
            ("GET", "counters"): self._counted,
            ("GET", "faults"): self._show_faults,
            ("POST", "faults"): self._change_faults,
            ("POST", "targets"): self._change_targets,
            ("POST", "revoke"): self._revoke,
            ("POST", "credentials"): self._rotate_credentials,
            ("POST", "credentials/revoke"): self._revoke_former,
            ("POST", "walk"): self._walk,
            ("POST", "rotate"): self._rotate,
        }

    async def answer(self, request: Request) -> Answer:
        """Answer one request; 400 with a sentence on whatever cannot be read."""
        try:
            if (request.method, request.path) == ("POST", PREFIX + "webhook"):
                return await self._webhook(object_in(request.body))
            handler = self._handlers.get((request.method, request.path.removeprefix(PREFIX)), _no_route)
            return handler(request)
        except Refused as refused:
            return Answer(refused.status, self._provider.scene.error(refused))
        except (TypeError, ValueError) as error:
            return Answer(400, self._provider.scene.error(Refused(400, "BAD_VALUE", str(error))))

    def _ledger(self, request: Request) -> Answer:
        """Show runs after number `since`; `next` is the `since` of the next page, `first` the oldest run kept."""
        query = dict(parse_qsl(request.query))
        ledger = self._provider.ledger
        since = int(query.get("since", "0"))
        runs = ledger.page(since, min(PAGE_MAX, int(query.get("limit", PAGE_DEFAULT))))
        entries = [ledger_entry(run) for run in runs]
        if query.get("format") == "jsonl":
            lines = b"".join(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
            return Answer(200, lines, media_type="application/x-ndjson")
        last = runs[-1].seq if runs else since
        return Answer(200, orjson.dumps({"entries": entries, "next": last, "first": ledger.first_seq}))

    def _counted(self, _request: Request) -> Answer:
        """Show how often each route answered what, and how much is held."""
        names = [each.name for each in fields(self._counters) if not each.name.startswith("_")]
        counted = {name: getattr(self._counters, name) for name in names}
        return Answer(200, orjson.dumps(counted | {"held": self._provider.held()}))

    def _show_faults(self, _request: Request) -> Answer:
        return Answer(200, orjson.dumps(shown(self._provider.scene.faults)))

    def _change_faults(self, request: Request) -> Answer:
        """Put other values in force for the faults that are given; shows all of them."""
        self._provider.scene.faults = changed(self._provider.scene.faults, object_in(request.body))
        return self._show_faults(request)

    def _change_targets(self, request: Request) -> Answer:
        """Send webhooks to other addresses from now on."""
        urls = object_in(request.body).get("urls")
        if not isinstance(urls, list):
            raise ValueError("urls must be a list of URLs or ports")  # noqa: TRY004  # a value of JSON, not a type
        self._delivery.urls = webhook_urls(tuple(str(url) for url in urls))
        return Answer(200, orjson.dumps({"urls": self._delivery.urls}))

    def _revoke(self, _request: Request) -> Answer:
        """Make every access token invalid."""
        self._api.credentials.revoke()
        return Answer(204, b"")

    def _rotate_credentials(self, request: Request) -> Answer:
        """Know another key and secret, and none beside them."""
        given = object_in(request.body)
        self._api.credentials.rotate(text_in(given, "key"), text_in(given, "secret"))
        return Answer(204, b"")

    def _revoke_former(self, _request: Request) -> Answer:
        """Make the access tokens of former credentials invalid."""
        self._api.credentials.revoke_former()
        return Answer(204, b"")

    def _walk(self, request: Request) -> Answer:
        """Walk a link or token; answers with what only the provider and its webhooks tell: the workflow id."""
        run = self._provider.links.walk(object_in(request.body), request.at)
        return Answer(200, orjson.dumps({"workflowId": run.workflow_id}))

    def _rotate(self, request: Request) -> Answer:
        """Sign with a new key, made or given; the last one can still be read until the next rotation."""
        given = object_in(request.body) if request.body else {}
        return Answer(200, orjson.dumps({"keyId": self._keys.rotate(str(given.get("signingKey", ""))).key_id}))

    async def _webhook(self, given: Mapping[str, Any]) -> Answer:
        """Send one webhook of any content, signed, unsigned or wrongly signed."""
        url = given.get("url")
        if url is None and not self._delivery.urls:
            raise ValueError("url is needed while there is no target")
        body = str(given["text"]).encode() if "text" in given else orjson.dumps(given.get("body"))
        signature = self._keys.current.sign(body, Signature(given.get("signature", "good")))
        status = await self._delivery.attempt(Webhook(body, signature), url)
        return Answer(200, orjson.dumps({"status": status}))


def _no_route(_request: Request) -> Answer:
    raise Refused(404, "NO_ROUTE", "no such route")
