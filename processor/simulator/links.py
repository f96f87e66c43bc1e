"""Links, tokens and mails for end users, and the users who walk them: by themselves, or when a test says so.

A link is walked once, within its life, and while it is the newest of its case or record and definition. Tokens do not
end each other. A user who comes by themselves uses the newest of what they were given, and comes for nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

from processor.simulator import draws
from processor.simulator.ledger import Ledger
from processor.simulator.model import Answered, Asked, Link, LinkKind, Origin, Refused, Run
from processor.simulator.reading import optional_text_in, text_in
from processor.simulator.runs import Runs
from processor.simulator.scene import Scene

Subject = tuple[str, str]  # A case or record, and a definition.


@dataclass(frozen=True, slots=True)
class Secret:
    """What the user holds: a token, or the link that leads to it."""

    token: str
    link: str


class Links:
    """Everything issued for end users; what is old goes first when there is too much."""

    def __init__(self, scene: Scene, ledger: Ledger, runs: Runs) -> None:
        self._scene = scene
        self._ledger = ledger
        self._runs = runs
        self._links: dict[str, Link] = {}
        self._newest_link: dict[Subject, Link] = {}  # The provider's view.
        self._newest: dict[Subject, Link] = {}  # The user's view: tokens too.

    def __len__(self) -> int:
        return len(self._links)

    def issue(self, kind: LinkKind, asked: Asked, answered: Answered, now: int, run: Run | None = None) -> Secret:
        """Make a link or token for a case or record, or for a run that waits for its user."""
        scene = self._scene
        is_by_token = kind is LinkKind.TOKEN or run is not None
        secret = draws.new_token(scene.source, {"iat": now // 1000}) if is_by_token else draws.new_id(scene.source)
        expires_at: int | None = now + int(scene.settings.link_s * 1000)
        if run is not None:
            expires_at = None if run.execution is None else run.execution.expires_at
        is_held = answered is Answered.YES or kind is LinkKind.MAIL  # A mail comes whatever the caller heard.
        is_coming = not draws.happens(scene.source, scene.faults.user_absent_rate)
        walks_at = now + draws.within(scene.source, scene.faults.user_walks_ms)
        link = Link(
            id=_recognised(secret),
            kind=kind,
            asked=asked,
            run=run,
            issued_at=now,
            expires_at=expires_at,
            walks_at=walks_at if is_held and is_coming else None,
            answered=answered,
        )
        self._ledger.issued(link)
        self._keep(link)
        scene.counters.links[kind.value] += 1
        if link.walks_at is not None:
            scene.schedule.at(link.walks_at, partial(self._come, link))
        base = scene.settings.link_base_url
        return Secret(secret, f"{base}/?token={secret}" if is_by_token else f"{base}/{secret}")

    def walk(self, given: Mapping[str, Any], now: int) -> Run:
        """Walk what a link, token, workflow, record or case id names; 404 when that is used, expired or unknown."""
        link = self._named(given)
        if link is None or link.is_ended or (link.expires_at is not None and link.expires_at <= now):
            raise Refused(404, "NOT_FOUND", "no such link or token, or it was used or has expired")
        return self._use(link, now)

    def restore(self, kind: str, line: Mapping[str, Any], asked: Callable[[Mapping[str, Any]], Asked]) -> None:
        """Take up a line of the ledger file that tells of a link."""
        if kind == "used":
            if (used := self._links.get(line["id"])) is not None:
                used.is_ended = True
        elif kind in set(LinkKind):
            run = None if line["workflowId"] is None else self._ledger.run(line["workflowId"])
            times = (line["issuedAt"], line["expiresAt"], line["walksAt"])
            self._keep(Link(line["id"], LinkKind(kind), asked(line), run, *times, Answered(line["answered"])))

    def resume(self) -> None:
        """Let the users come who have not come yet."""
        for link in self._links.values():
            if link.walks_at is not None and not link.is_ended:
                self._scene.schedule.at(link.walks_at, partial(self._come, link))

    def _come(self, link: Link, now: int) -> None:
        """Let a user come by themselves, with the newest of what they hold."""
        subject = _subject(link.asked)
        if subject is not None and self._newest.get(subject) is not link:
            return
        if link.is_ended:
            return
        if link.expires_at is not None and link.expires_at <= now:
            self._scene.counters.links["too-late"] += 1
        else:
            self._use(link, now)

    def _use(self, link: Link, now: int) -> Run:
        """Execute a workflow, or let the one go on that waits for its user."""
        link.is_ended = True
        run = link.run
        if run is None:
            run = self._runs.execute(link.asked, Answered.NO, now, origin=Origin.LINK)
        else:
            self._runs.walk(run, now)
        self._ledger.used(link, run)
        self._scene.counters.links["walked"] += 1
        return run

    def _keep(self, link: Link) -> None:
        """Hold a link, and end the one before it."""
        self._links[link.id] = link
        subject = _subject(link.asked)
        if subject is not None:
            self._newest.pop(subject, None)
            self._newest[subject] = link  # Last of all, for the search by subject begins at the end.
            if link.kind is not LinkKind.TOKEN and link.run is None:
                previous = self._newest_link.get(subject)
                if previous is not None and self._scene.settings.links_expire_previous:
                    previous.is_ended = True
                self._newest_link[subject] = link
        for held in (self._links, self._newest, self._newest_link):
            _bound(held, self._scene.settings.contents_max)

    def _named(self, given: Mapping[str, Any]) -> Link | None:
        if (link := optional_text_in(given, "link")) is not None:
            return self._links.get(_recognised(_secret_in(link)))
        if (token := optional_text_in(given, "token")) is not None:
            return self._links.get(_recognised(token))
        if (workflow_id := optional_text_in(given, "workflowId")) is not None:
            run = self._ledger.run(workflow_id.lower())
            return next((link for link in self._links.values() if run is not None and link.run is run), None)
        name = "recordId" if given.get("recordId") is not None else "caseId"
        sought = text_in(given, name).lower()
        definition_id = optional_text_in(given, "workflowDefinitionId")
        found = (
            link
            for (subject_id, its_definition), link in reversed(self._newest.items())
            if subject_id == sought and definition_id in (None, its_definition)
        )
        return next(found, None)


def _subject(asked: Asked) -> Subject | None:
    """Say what newer links compete for; None for a link about nothing."""
    subject_id = asked.case_id or asked.record_id
    return None if subject_id is None else (subject_id.lower(), asked.definition_id)


def _recognised(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _secret_in(link: str) -> str:
    """Take the secret out of a link: its token, or the end of its path."""
    parts = urlsplit(link)
    token = parse_qs(parts.query).get("token")
    return token[0] if token else parts.path.rpartition("/")[2]


def _bound(held: dict[Any, Link], size_max: int) -> None:
    if len(held) > size_max:
        del held[next(iter(held))]
