"""How launch's parts are counted, and which of its calls a drain waits for and leaves as evidence."""

from dataclasses import replace

import pytest

from processor.adapters.avro import EventEncoder
from processor.adapters.codec import Codec
from processor.adapters.registry import registry_client
from processor.core.catalogue import Catalogue
from processor.core.launch import Launch
from processor.core.launch_parts import new_head
from processor.core.messages import (
    AwaitEvidence,
    Call,
    CallAnswered,
    CallProved,
    Judge,
    Prepared,
    ReadCase,
    StartWorkflow,
)
from processor.core.model import Origin
from processor.core.proof import STARTS, Operation, Proof
from processor.core.state import GaveUp, Issued, KnownWorkflow, LaunchPhase, Part, WaitingLaunch
from processor.roles.machines import LaunchMachine, Writing
from processor.settings import Settings

SETTINGS = Settings()
CLIENT = registry_client("http://127.0.0.1:1")  # Nothing here asks it.
WRITING = Writing(SETTINGS.topics, Codec(), EventEncoder(CLIENT, source="urn:test", definitions={}), "0")
MACHINE = LaunchMachine(Launch(Catalogue({})), WRITING)
ORIGIN = Origin("r-1", "person-check", b"k", "results", 1, 2, 3)
PREPARED = Prepared(ORIGIN, "rec-1", "rec-1", None, is_own=True, parameters_id=None, prepared_at=4)
HEAD = new_head(PREPARED, 0, 0)
LINK = Issued(PREPARED, 4, 4, 1, 1, 1, None, None)
START = StartWorkflow("person-check", "r-1", 2, "rec-1", None, None, 9, 19)
UNREPEATABLE = {Operation.RUN, Operation.SEND_LINK}


@pytest.mark.parametrize(
    "part, word",
    [
        *((replace(HEAD, phase=LaunchPhase(word)), "active") for word in ("ready", "backing-off", "suspect", "intent")),
        (replace(HEAD, phase=LaunchPhase.UNKNOWN), "unknown"),
        (replace(HEAD, phase=LaunchPhase.HELD), "held"),
        (replace(HEAD, phase=LaunchPhase.GATHERING), "rerun"),
        (replace(HEAD, phase=LaunchPhase.CERTAIN), "rerun"),
        (WaitingLaunch(PREPARED, None), "waiting"),
        (KnownWorkflow("r-1", None), "known"),
        (LINK, "issued"),
        (replace(LINK, has_candidates=True), "held"),
        (GaveUp(PREPARED, 4, 1, None), "gave-up"),
    ],
)
def test_a_part_is_counted_by_what_it_waits_for(part: Part, word: str) -> None:
    """What a person has to look at is held, a link with candidates too."""
    assert MACHINE.gauges[MACHINE.gauge_of(part)] == word


@pytest.mark.parametrize("operation", sorted(STARTS))
def test_a_drain_waits_for_what_cannot_be_repeated_and_leaves_evidence_of_it(operation: Operation) -> None:
    """A lost link or token is issued again, and is no evidence but a secret."""
    call = replace(START, operation=operation)
    answer = CallAnswered(operation, 2, Proof.DONE, "w-1", "RUNNING", None, "HTTP 200", "r-1", "https://link", "token")
    is_evidence = operation in UNREPEATABLE
    assert MACHINE.must_finish(call) is is_evidence
    record = MACHINE.evidence("rec-1", call, answer, 7)
    assert (record is not None) is is_evidence
    if record is not None:
        proved = CallProved("rec-1", "r-1", 2, Proof.DONE, "w-1", "RUNNING", "HTTP 200", 7, operation)
        assert MACHINE.decode(record.value or b"") == proved
        assert b"https://link" not in (record.value or b"")


@pytest.mark.parametrize(
    "call", [Judge(Operation.RUN, "w", "r-1", 1), ReadCase("w", "r-1", "c-1", 1), AwaitEvidence("r-1", 1, 5)]
)
def test_no_drain_waits_for_what_can_be_asked_again(call: Call) -> None:
    """The next owner asks by itself."""
    assert not MACHINE.must_finish(call)
    assert MACHINE.evidence("rec-1", call, None, 7) is None
