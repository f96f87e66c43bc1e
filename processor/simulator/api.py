"""From a request to its answer: the checks and faults that come before every handler, in one order.

Outage, limit, content types, version, token, permission, route of the version, 429, 5xx; then the route's own handler.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from processor.simulator import draws, routing
from processor.simulator.credentials import Credentials
from processor.simulator.limiter import Limiter
from processor.simulator.model import Answer, Call, Generation, Refused
from processor.simulator.provider import Provider
from processor.simulator.reading import generation_in, is_json, is_json_wanted, is_uuid
from processor.simulator.routing import Kind, Route
from processor.simulator.signing import Keys

UNKNOWN_ROUTE = "unknown"


@dataclass(frozen=True, slots=True)
class Request:
    """What an HTTP request says; `at` is the instant at which it was read."""

    method: str
    path: str
    query: str
    accept: str
    authorization: str
    content_type: str
    body: bytes
    at: int


class Api:
    """The provider's routes over one `Provider`."""

    def __init__(self, provider: Provider, keys: Keys, started_at: int) -> None:
        self._scene = provider.scene
        self._keys = keys
        self._router = routing.Router({routing.SET_PARAMETERS.name: provider.scene.settings.parameters_path})
        self._started_at = started_at
        self._limiter = Limiter()
        self.credentials = Credentials(provider.scene)
        self._handlers: Mapping[str, Callable[[Call], Answer]] = {
            routing.AUTHORIZE.name: self.credentials.authorize,
            routing.REFRESH.name: self.credentials.refresh,
            routing.READ_KEY.name: self._read_key,
            routing.CREATE_CASE.name: provider.create_case,
            routing.READ_CASE.name: provider.read_case,
            routing.CREATE_RECORD.name: provider.contents.create_record,
            routing.READ_RECORD.name: provider.contents.read_record,
            routing.SET_PARAMETERS.name: provider.contents.set_parameters,
            routing.RUN_WORKFLOW.name: provider.run_workflow,
            routing.START_WORKFLOW.name: provider.start_workflow,
            routing.ISSUE_TOKEN.name: provider.issue_token,
            routing.ISSUE_LINK.name: provider.issue_link,
            routing.SEND_LINK.name: provider.send_link,
            routing.READ_STATUS.name: provider.read_status,
            routing.READ_RESULT.name: provider.read_result,
        }

    def answer(self, request: Request) -> tuple[str, Answer, int]:
        """Answer a request: the route's name, the answer, and how many milliseconds it takes."""
        found = self._router.find(request.method, request.path)
        wait_ms = draws.within(self._scene.source, self._scene.faults.latency_ms)
        if found is None:
            return UNKNOWN_ROUTE, self.refusal(Refused(404, "NO_ROUTE", "no such route")), wait_ms
        route, args = found
        try:
            generation = self._checked(route, request)
            call = Call(args, request.query, generation, request.body, request.at)
            return route.name, self._handlers[route.name](call), wait_ms
        except Refused as refused:
            return route.name, self.refusal(refused), wait_ms

    def admit(self, request: Request) -> None:
        """Refuse what no route may answer now, or not to this caller."""
        settings = self._scene.settings
        if settings.auth_required and not self.credentials.is_valid(request.authorization, request.at):
            raise Refused(401, "BAD_TOKEN", "the token is missing, unknown or has expired")
        if self._scene.faults.forbidden:
            raise Refused(403, "FORBIDDEN", "the permission is missing")

    def refuse_all(self, at: int) -> None:
        """Refuse every call in an outage, and those above the limit."""
        faults = self._scene.faults
        if draws.is_out(faults, at - self._started_at):
            raise Refused(503, "OUTAGE", "the provider is down")
        if self._limiter.is_over(at, faults.calls_per_second_max):
            self._scene.counters.over_limit += 1
            raise self._throttled(at)

    def refusal(self, refused: Refused) -> Answer:
        """Answer with the documented ErrorResponse."""
        return Answer(refused.status, self._scene.error(refused), headers=refused.headers)

    def _checked(self, route: Route, request: Request) -> Generation:
        """Refuse what never comes to the handler; returns the version that the request asks for."""
        self.refuse_all(request.at)
        if request.method == "POST" and not is_json(request.content_type):
            raise Refused(415, "BAD_CONTENT_TYPE", "send application/json")
        if self._scene.settings.strict and route.kind is not Kind.KEY and not is_json_wanted(request.accept):
            raise Refused(406, "NOT_ACCEPTABLE", "answers are application/json")
        asked = generation_in(request.accept)
        generation = asked or Generation.G1
        if route.kind is Kind.CREDENTIAL:
            if self._scene.faults.credentials_refused:
                raise Refused(401, "BAD_CREDENTIALS", "the credentials are refused")
            return generation
        if route.kind is Kind.KEY:
            if self._scene.settings.key_needs_credential:
                self.admit(request)
            return generation
        self.admit(request)
        if self._scene.settings.strict:
            self._refuse_other_version(route, asked)
        self._fail_by_chance(route, request.at)
        return generation

    @staticmethod
    def _refuse_other_version(route: Route, asked: Generation | None) -> None:
        """Refuse a route that the version has not; `asked` is None where `Accept` names none."""
        if asked in route.absent_in:
            raise Refused(404, "NO_ROUTE", f"no such route in version {asked}")

    def _fail_by_chance(self, route: Route, at: int) -> None:
        """Draw the failures that any call can meet."""
        faults, source = self._scene.faults, self._scene.source
        if draws.happens(source, faults.throttled_rate):
            raise self._throttled(at)
        if route.kind is not Kind.START and draws.happens(source, faults.error_5xx_rate):
            raise self._scene.server_error()

    def _throttled(self, at: int) -> Refused:
        """Build a 429 that says in one of the two forms when to come again (RFC 9110, 10.2.3)."""
        faults = self._scene.faults
        headers: tuple[tuple[str, str], ...] = ()
        if faults.retry_after_s:
            # The date has whole seconds only: the next one, so that nobody is called too early.
            due_s = -(-at // 1000) + faults.retry_after_s
            value = formatdate(due_s, usegmt=True) if faults.retry_after_as_date else str(faults.retry_after_s)
            headers = (("Retry-After", value),)
        return Refused(429, "TOO_MANY_REQUESTS", "come later", headers)

    def _read_key(self, call: Call) -> Answer:
        """Show the webhooks' public key: PEM text, or plain base64 with `pem=false`; 400, 404."""
        if self._scene.faults.keys_down:
            raise Refused(503, "OUTAGE", "the keys cannot be read")
        if not is_uuid(call.args[0]):
            raise Refused(400, "BAD_UUID", "keyId is not a UUID")
        signer = self._keys.find(call.args[0])
        if signer is None:
            raise Refused(404, "NOT_FOUND", "no such key")
        is_plain = "pem=false" in call.query.split("&")
        return Answer(200, signer.base64 if is_plain else signer.pem, media_type="text/plain")
