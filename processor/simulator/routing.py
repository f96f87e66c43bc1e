"""The provider's routes as one table, and how a path finds its row. Reads no body and decides nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from processor.simulator.model import Generation


class Kind(StrEnum):
    """What a route does, which decides the checks and faults before its handler."""

    CREDENTIAL = "credential"  # Needs no token.
    KEY = "key"  # Needs no token.
    CREATION = "creation"
    START = "start"  # May not be repeated; has faults of its own.
    READ = "read"


@dataclass(frozen=True, slots=True)
class Route:
    """One row: a placeholder of the template is a segment in braces."""

    name: str
    kind: Kind
    absent_in: frozenset[Generation] = frozenset()  # Whoever asks for one of these versions does not find it.

    @property
    def segments(self) -> tuple[str, ...]:
        """The path, cut at its slashes."""
        return tuple(self.name.partition(" /")[2].split("/"))

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.name.partition(" ")[0]


AUTHORIZE = Route("POST /auth/authorize", Kind.CREDENTIAL)
REFRESH = Route("POST /auth/refresh", Kind.CREDENTIAL)
READ_KEY = Route("GET /auth/webhooks/key/{keyId}", Kind.KEY)
CREATE_CASE = Route("POST /cases", Kind.CREATION)
READ_CASE = Route("GET /cases/{caseId}", Kind.READ)
CREATE_RECORD = Route("POST /tables/{tableId}/records", Kind.CREATION, frozenset({Generation.G1}))
READ_RECORD = Route("GET /tables/{tableId}/records/{recordId}", Kind.READ, frozenset({Generation.G1}))
SET_PARAMETERS = Route("POST /parameters", Kind.CREATION)
RUN_WORKFLOW = Route("POST /workflows/run", Kind.START)
START_WORKFLOW = Route("POST /workflows", Kind.START, frozenset(Generation))
ISSUE_TOKEN = Route("POST /token", Kind.START)
ISSUE_LINK = Route("POST /link", Kind.START)
SEND_LINK = Route("POST /link/send", Kind.START)
READ_STATUS = Route("GET /workflows/{workflowId}", Kind.READ)
READ_RESULT = Route("GET /workflows/{workflowId}/result", Kind.READ)

ROUTES = (
    AUTHORIZE,
    REFRESH,
    READ_KEY,
    CREATE_CASE,
    READ_CASE,
    CREATE_RECORD,
    READ_RECORD,
    SET_PARAMETERS,
    RUN_WORKFLOW,
    START_WORKFLOW,
    ISSUE_TOKEN,
    ISSUE_LINK,
    SEND_LINK,
    READ_STATUS,
    READ_RESULT,
)


Template = tuple[str, ...]  # A path, cut at its slashes.


class Router:
    """Finds the route of a path; some routes may be told to have another path than the documented one."""

    def __init__(self, paths: Mapping[str, str] | None = None) -> None:
        self._by_shape: dict[tuple[str, int], list[tuple[Route, Template]]] = {}
        for route in ROUTES:
            path = (paths or {}).get(route.name)
            segments = route.segments if path is None else tuple(path[1:].split("/"))
            self._by_shape.setdefault((route.method, len(segments)), []).append((route, segments))

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
        """Find the route of a path without its query, and what stands in its placeholders."""
        given = path[1:].split("/")
        for route, segments in self._by_shape.get((method, len(given)), ()):
            if all(mine == theirs or mine[0] == "{" for mine, theirs in zip(segments, given, strict=True)):
                return route, tuple(theirs for mine, theirs in zip(segments, given, strict=True) if mine[0] == "{")
        return None
