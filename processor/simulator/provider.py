"""The provider itself: its parts, and the calls that start or read a workflow. No sockets and no clock.

Every execution is in the ledger before its call is answered, whatever becomes of the answer.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

import orjson

from processor.simulator import draws
from processor.simulator.asking import Asking
from processor.simulator.bodies import case_body, moved, result_body, started_body, status_body
from processor.simulator.contents import Contents
from processor.simulator.draws import RunFault
from processor.simulator.ledger import Ledger, drop_torn_line, lines_in
from processor.simulator.links import Links, Secret
from processor.simulator.model import Answer, Answered, Call, Conduct, Content, Counters, LinkKind, Refused, Run
from processor.simulator.runs import Runs
from processor.simulator.scene import Scene
from processor.simulator.schedule import Schedule
from processor.simulator.settings import SimulatorSettings

T = TypeVar("T")

ANSWERED_UNDER = {
    RunFault.NONE: Answered.YES,
    RunFault.ERROR_EXECUTED: Answered.ERROR,
    RunFault.SILENT: Answered.NO,
    RunFault.HUNG_UP: Answered.DROPPED,
    RunFault.GHOST: Answered.NO,
}
CONDUCT_UNDER = {RunFault.HUNG_UP: Conduct.HANG_UP, RunFault.SILENT: Conduct.SILENT}


class Provider:
    """Records, cases, parameters, runs and links; calls `send` with the body of each webhook when it is due."""

    def __init__(
        self, settings: SimulatorSettings, schedule: Schedule, counters: Counters, send: Callable[[bytes], None]
    ) -> None:
        self.scene = Scene(settings, schedule, counters)
        path = Path(settings.ledger_file) if settings.ledger_file else None
        if path is not None:
            drop_torn_line(path)
        self.ledger = Ledger(settings.runs_max, path)
        self.contents = Contents(self.scene, self.ledger)
        self.runs = Runs(self.scene, self.ledger, send)
        self.links = Links(self.scene, self.ledger, self.runs)
        self._asking = Asking(self.scene, self.contents)
        if path is not None:
            self._restore(path)

    def create_case(self, call: Call) -> Answer:
        """Make a case (version 1): 201."""
        return Answer(201, self._case_body(self.contents.create_case(call), None))

    def read_case(self, call: Call) -> Answer:
        """Show a case, and what its last run found out: 200, or 404."""
        case = self.contents.held("case", call.args[0])
        if case is None:
            raise Refused(404, "NOT_FOUND", "no such case")
        return Answer(200, self._case_body(case, self.runs.last_of_case(case.id)))

    def run_workflow(self, call: Call) -> Answer:
        """Execute a workflow (versions 1 and 2): 200 with its id."""
        asked = self._asking.run(call)
        return self._start(
            call,
            lambda answered, now: self.runs.execute(asked, answered, now),
            lambda run: self._started(run, self._status_body(run, call)),
        )

    def start_workflow(self, call: Call) -> Answer:
        """Execute a workflow (version 3): 200 with its object, and with token and link where it needs an end user."""
        asked, execution = self._asking.workflow(call)

        def start(answered: Answered, now: int) -> tuple[Run, Secret | None]:
            run = self.runs.execute(asked, answered, now, execution)
            return run, self.links.issue(LinkKind.LINK, asked, answered, now, run) if execution.has_user else None

        def show(started: tuple[Run, Secret | None]) -> Answer:
            run, secret = started
            if secret is None:
                return self._started(run, self._status_body(run, call))
            return self._started(run, started_body(run, secret.token, secret.link))

        return self._start(call, start, show)

    def issue_token(self, call: Call) -> Answer:
        """Make a token for an end user: 201."""
        life_s = int(self.scene.settings.link_s)
        return self._issue(
            call,
            LinkKind.TOKEN,
            lambda secret: {"token": secret.token, "expiryDuration": life_s, "tokenType": "Bearer"},
        )

    def issue_link(self, call: Call) -> Answer:
        """Make a link for an end user: 201."""
        return self._issue(call, LinkKind.LINK, lambda secret: {"link": secret.link})

    def send_link(self, call: Call) -> Answer:
        """Mail a link to an end user: 201."""
        return self._issue(call, LinkKind.MAIL, lambda secret: {"link": secret.link})

    def read_status(self, call: Call) -> Answer:
        """Show a run: 200, or 404."""
        return Answer(200, self._status_body(self.runs.known(call.args[0]), call))

    def read_result(self, call: Call) -> Answer:
        """Show the result of a run that has ended: 200; 404 before, and for a while after where that is a fault."""
        run = self.runs.known(call.args[0])
        settings = self.scene.settings
        if not settings.results_available or (run.execution is not None and not settings.version_3_results):
            raise Refused(404, "NO_ROUTE", "there are no results to read")
        if run.finished_at is None or call.at < run.finished_at + self.scene.faults.result_delay_ms:
            raise Refused(404, "NO_RESULT", "the result is not there yet")
        return Answer(200, result_body(run, call.generation, self.contents.held("case", run.case_id)))

    def held(self) -> dict[str, int]:
        """Count what is held, by kind."""
        return self.contents.counts() | {"run": len(self.ledger.runs), "link": len(self.links)}

    def _issue(self, call: Call, kind: LinkKind, body: Callable[[Secret], object]) -> Answer:
        asked = self._asking.link(call, kind)
        return self._start(
            call,
            lambda answered, now: self.links.issue(kind, asked, answered, now),
            lambda secret: Answer(201, orjson.dumps(body(secret))),
        )

    def _start(self, call: Call, start: Callable[[Answered, int], T], show: Callable[[T], Answer]) -> Answer:
        """Do what may not be repeated, unless chance keeps it from being done, or from being answered."""
        scene = self.scene
        fault = draws.run_fault(scene.source, scene.faults)
        if fault is RunFault.ERROR_UNEXECUTED:
            raise scene.server_error()
        if fault is RunFault.GHOST:
            delay_ms = draws.within(scene.source, scene.faults.ghost_delay_ms)
            scene.schedule.at(call.at + delay_ms, lambda now: start(ANSWERED_UNDER[fault], now))
            return Answer(0, b"", conduct=Conduct.SILENT)
        answer = show(start(ANSWERED_UNDER[fault], call.at))
        if fault is RunFault.ERROR_EXECUTED:
            refused = scene.server_error()
            return Answer(refused.status, scene.error(refused), run=answer.run)
        return answer if fault is RunFault.NONE else replace(answer, conduct=CONDUCT_UNDER[fault])

    def _started(self, run: Run, body: bytes) -> Answer:
        """Tell of an execution, its id where the provider puts it."""
        path = self.scene.settings.run_id_path
        return Answer(200, body if path == "id" else moved(body, "id", path), run=run)

    def _status_body(self, run: Run, call: Call) -> bytes:
        """Show a run in the shape of the version that it was started by, or that is asked for."""
        return status_body(run, call.generation, is_record_hidden=self.scene.faults.status_hides_record)

    def _case_body(self, case: Content, run: Run | None) -> bytes:
        return case_body(case, run, shows_workflow=self.scene.settings.case_shows_workflow)

    def _restore(self, path: Path) -> None:
        """Take up what an earlier process left in the file, and let it go on."""
        lines = 0
        for line in lines_in(path):
            lines += 1
            kind = line.pop("kind")
            if not (self.contents.restore(kind, line) or self.runs.restore(kind, line, self._asking.again)):
                self.links.restore(kind, line, self._asking.again)
        if lines:
            # Other ids than before, or new runs would take the ids of restored ones.
            self.scene.source = Random(f"{self.scene.settings.seed}/{lines}")
        self.runs.resume()
        self.links.resume()
