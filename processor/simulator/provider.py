"""The provider itself: what it holds and how a call changes it. No sockets and no clock; chance is seeded.

Every execution is in the ledger before its call is answered, whatever becomes of the answer.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson

from processor.simulator import draws
from processor.simulator.bodies import case_body, error_body, record_body, result_body, status_body, webhook_body
from processor.simulator.draws import Plan, RunFault
from processor.simulator.ledger import Ledger, drop_torn_line, lines_in
from processor.simulator.model import (
    Answer,
    Answered,
    Call,
    Conduct,
    Content,
    Counters,
    Generation,
    Refused,
    Run,
)
from processor.simulator.reading import object_in, on_one_line, optional_text_in, text_in, uuid_in
from processor.simulator.schedule import Schedule
from processor.simulator.settings import SimulatorSettings

ANSWERED_UNDER = {
    RunFault.NONE: Answered.YES,
    RunFault.ERROR_EXECUTED: Answered.ERROR,
    RunFault.SILENT: Answered.NO,
    RunFault.HUNG_UP: Answered.DROPPED,
    RunFault.GHOST: Answered.NO,
}
CONDUCT_UNDER = {RunFault.HUNG_UP: Conduct.HANG_UP, RunFault.SILENT: Conduct.SILENT, RunFault.GHOST: Conduct.SILENT}


class Provider:
    """Records, cases, parameters and runs; calls `send` with the body of each webhook when it is due."""

    def __init__(
        self, settings: SimulatorSettings, schedule: Schedule, counters: Counters, send: Callable[[bytes], None]
    ) -> None:
        self.faults = settings.faults
        self.source = Random(settings.seed)
        self._settings = settings
        self._schedule = schedule
        self._counters = counters
        self._send = send
        self._contents: Mapping[str, dict[str, Content]] = {"record": {}, "case": {}, "parameters": {}}
        path = Path(settings.ledger_file) if settings.ledger_file else None
        if path is not None:
            drop_torn_line(path)
        self.ledger = Ledger(settings.runs_max, path)
        if path is not None:
            self._restore(path)

    def create_record(self, call: Call) -> Answer:
        """Make a record in a table of any columns: 201."""
        record = self._create("record", call.args[0], call)
        return Answer(201, record_body(record))

    def read_record(self, call: Call) -> Answer:
        """Show a record: 200, or 404."""
        record = self._held("record", call.args[1])
        if record is None or record.owner != call.args[0]:
            raise Refused(404, "NOT_FOUND", "no such record")
        return Answer(200, record_body(record))

    def create_case(self, call: Call) -> Answer:
        """Make a case (version 1): 201."""
        return Answer(201, case_body(self._create("case", draws.new_id(self.source), call)))

    def read_case(self, call: Call) -> Answer:
        """Show a case: 200, or 404."""
        case = self._held("case", call.args[0])
        if case is None:
            raise Refused(404, "NOT_FOUND", "no such case")
        return Answer(200, case_body(case))

    def set_parameters(self, call: Call) -> Answer:
        """Keep a parameter set for a definition: 201; 404 when the definition does not exist."""
        given = object_in(call.body)
        definition_id = self._definition_in(given)
        values = given.get("parameters")
        if not isinstance(values, dict):
            raise Refused(400, "MISSING_MEMBER", "parameters must be an object")
        parameters = Content(draws.new_id(self.source), definition_id, orjson.dumps(values), call.at)
        self._keep("parameters", parameters)
        self.ledger.created("parameters", parameters)
        return Answer(201, orjson.dumps({"id": parameters.id}))

    def run_workflow(self, call: Call) -> Answer:
        """Execute a workflow: 200 with its id; what goes wrong is drawn once the call is known to be valid."""
        ids = self._ids_in(call)
        fault = draws.run_fault(self.source, self.faults)
        if fault is RunFault.ERROR_UNEXECUTED:
            raise self.server_error()
        if fault is RunFault.GHOST:
            delay_ms = draws.within(self.source, self.faults.ghost_delay_ms)
            self._schedule.at(call.at + delay_ms, lambda now: self._execute(ids, fault, now))
            return Answer(0, b"", conduct=Conduct.SILENT)
        run = self._execute(ids, fault, call.at)
        if fault is RunFault.ERROR_EXECUTED:
            refused = self.server_error()
            return Answer(refused.status, self.error(refused), run=run)
        body = status_body(run, call.generation, is_record_hidden=self.faults.status_hides_record)
        return Answer(200, body, conduct=CONDUCT_UNDER.get(fault, Conduct.ANSWER), run=run)

    def read_status(self, call: Call) -> Answer:
        """Show a run: 200, or 404."""
        run = self._run(call.args[0])
        return Answer(200, status_body(run, call.generation, is_record_hidden=self.faults.status_hides_record))

    def read_result(self, call: Call) -> Answer:
        """Show the result of a run that has ended: 200; 404 before, and for a while after where that is a fault."""
        run = self._run(call.args[0])
        if run.finished_at is None or call.at < run.finished_at + self.faults.result_delay_ms:
            raise Refused(404, "NO_RESULT", "the result is not there yet")
        return Answer(200, result_body(run, call.generation))

    def server_error(self) -> Refused:
        """Draw a 5xx."""
        return Refused(self.source.choice(draws.SERVER_ERRORS), "SERVER_ERROR", "something went wrong")

    def error(self, refused: Refused) -> bytes:
        """Build the body of a refusal, with a fingerprint of its own."""
        return error_body(f"{self.source.getrandbits(40):010x}", refused.code, refused.message)

    def contents(self) -> dict[str, int]:
        """Count what is held, by kind."""
        return {kind: len(held) for kind, held in self._contents.items()}

    def _create(self, kind: str, owner: str, call: Call) -> Content:
        """Keep a record or a case, unless its content holds the marker that refuses it."""
        body = on_one_line(call.body, object_in(call.body))
        self._refuse_if_marked(self.faults.refused_record_marker, body)
        content = Content(draws.new_id(self.source), owner, body, call.at)
        self._keep(kind, content)
        self.ledger.created(kind, content)
        return content

    def _keep(self, kind: str, content: Content) -> None:
        """Hold a content in memory; the oldest goes when there are too many."""
        held = self._contents[kind]
        held[content.id] = content
        if len(held) > self._settings.contents_max:
            del held[next(iter(held))]

    def _held(self, kind: str, content_id: str | None) -> Content | None:
        return None if content_id is None else self._contents[kind].get(content_id.lower())

    def _run(self, workflow_id: str) -> Run:
        run = self.ledger.run(workflow_id.lower())
        if run is None:
            raise Refused(404, "NOT_FOUND", "no such workflow")
        return run

    def _definition_in(self, given: Mapping[str, Any]) -> str:
        """Read a definition id that exists; 404 when there is a list and it is not on it."""
        definition_id = text_in(given, "workflowDefinitionId")
        if self._settings.definitions and definition_id not in self._settings.definitions:
            raise Refused(404, "NOT_FOUND", "no such workflow definition")
        return definition_id

    def _ids_in(self, call: Call) -> dict[str, Any]:
        """Read and check what a run is asked for; returns the members of a Run that follow from it."""
        given = object_in(call.body)
        definition_id = self._definition_in(given)
        is_g1 = call.generation is Generation.G1
        case_id = uuid_in(given, "caseId") if is_g1 else None
        has_record = not is_g1 and given.get("recordId") is not None
        record_id = uuid_in(given, "recordId") if has_record else None
        parameters_id = optional_text_in(given, "parametersId")
        subject = self._held("case", case_id) or self._held("record", record_id)
        parameters = self._held("parameters", parameters_id)
        if self._settings.unknown_ids_refused:
            is_foreign = (case_id or record_id) is not None and subject is None
            if is_foreign or (parameters_id is not None and parameters is None):
                raise Refused(404, "NOT_FOUND", "no such case, record or parameters")
        columns = b"null" if subject is None else subject.body
        values = b"null" if parameters is None else parameters.body
        self._refuse_if_marked(self.faults.refused_run_marker, columns, values)
        return {
            "definition_id": definition_id,
            "case_id": case_id,
            "record_id": record_id,
            "parameters_id": parameters_id,
            "columns": columns,
            "parameters": values,
        }

    def _refuse_if_marked(self, marker: str, *bodies: bytes) -> None:
        """Answer 400 to what holds the marker, at the rate of that fault."""
        sought = marker.encode()
        is_marked = bool(sought) and any(sought in body for body in bodies)
        if is_marked and draws.happens(self.source, self.faults.refused_rate):
            raise Refused(400, "REFUSED", "the content is refused")

    def _execute(self, ids: Mapping[str, Any], fault: RunFault, now: int) -> Run:
        """Begin a run and write it down, then plan its end and its webhooks."""
        plan = draws.plan(self.source, self.faults)
        run = Run(
            seq=self.ledger.seq + 1,
            workflow_id=draws.new_id(self.source),
            executed_at=now,
            ends_at=now + plan.completion_ms,
            final_status=plan.final_status,
            decision=plan.decision,
            answered=ANSWERED_UNDER[fault],
            **ids,
        )
        self.ledger.executed(run)
        self._counters.executed += 1
        if plan.completion_ms == 0:
            self._finish(run, plan, now)
        else:
            self._schedule.at(run.ends_at, partial(self._finish, run, plan))
        return run

    def _finish(self, run: Run, plan: Plan, now: int) -> None:
        """End a run and send its webhooks, or lose them."""
        run.finished_at = now
        self.ledger.finished(run)
        self._counters.finished += 1
        sendings = len(plan.webhook_delays_ms)
        self._counters.webhooks[("lost", "single", "doubled")[sendings]] += 1
        body = webhook_body(run)
        for delay_ms in plan.webhook_delays_ms:
            self._schedule.at(now + delay_ms, lambda _now: self._send(body))

    def _restore(self, path: Path) -> None:
        """Take up what an earlier process left in the file; its unfinished runs end with one webhook each."""
        lines = 0
        for line in lines_in(path):
            lines += 1
            kind = line.pop("kind")
            if kind == "run":
                self.ledger.keep(_run_in(line))
            elif kind in self._contents:
                self._keep(kind, Content(line["id"], line["owner"], orjson.dumps(line["body"]), line["at"]))
            elif (run := self.ledger.run(line["workflowId"])) is not None:
                run.finished_at = line.get("finishedAt", run.finished_at)
                run.answered = Answered(line.get("answered", run.answered))
        if lines:
            # Other ids than before, or new runs would take the ids of restored ones.
            self.source = Random(f"{self._settings.seed}/{lines}")
        for run in self.ledger.runs:
            if run.finished_at is None:
                plan = Plan(0, run.final_status, run.decision, webhook_delays_ms=(0,))
                self._schedule.at(run.ends_at, partial(self._finish, run, plan))


def _run_in(line: Mapping[str, Any]) -> Run:
    """Read a run back from its line in the ledger file."""
    return Run(
        seq=line["seq"],
        workflow_id=line["workflowId"],
        definition_id=line["definitionId"],
        case_id=line["caseId"],
        record_id=line["recordId"],
        parameters_id=line["parametersId"],
        columns=orjson.dumps(line["columns"]),
        parameters=orjson.dumps(line["parameters"]),
        executed_at=line["executedAt"],
        ends_at=line["endsAt"],
        final_status=line["finalStatus"],
        decision=line["decision"],
        answered=Answered(line["answered"]),
        finished_at=line["finishedAt"],
    )
