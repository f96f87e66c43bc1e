"""Whatever the order in which answers, evidence, timers, decisions and restarts come: one way out for each request."""

from collections.abc import Mapping

import pytest

from processor.core.messages import Resolution, Started
from processor.core.proof import Proof
from processor.core.state import LaunchPhase
from tests.core.launch_acts import Act, answer, check_end, check_ways_out, deadline, decide, orders, restart, wake_in
from tests.core.launching import W1, Key, observed, prepared, proved, sent

# The run was executed as workflow W1, and everything that can be heard of that.
EXECUTED: Mapping[str, Act] = {
    "answer done": answer(Proof.DONE, W1),
    "answer unknown": answer(Proof.UNKNOWN),
    "proof done": lambda key: key.tell(proved(Proof.DONE, W1)),
    "observed": lambda key: key.tell(observed(W1)),
    "intent timer": wake_in(LaunchPhase.INTENT),
    "window timer": wake_in(LaunchPhase.UNKNOWN),
    "prepared again": lambda key: key.tell(prepared()),
    "restart": restart,
    "person: started": decide(Resolution.STARTED, W1),
    "deadline": deadline,
}
# The first attempt was not executed, or nobody can tell; persons and proofs bring the next one about.
DOUBTED: Mapping[str, Act] = {
    "answer unknown": answer(Proof.UNKNOWN),
    "answer not sent": answer(Proof.NOT_SENT),
    "answer our fault": answer(Proof.OUR_FAULT),
    "proof not sent": lambda key: key.tell(proved(Proof.NOT_SENT)),
    "observed": lambda key: key.trace(observed(W1)),
    "proof done": lambda key: key.trace(proved(Proof.DONE, W1)),
    "back-off": wake_in(LaunchPhase.BACKING_OFF),
    "person: not executed": decide(Resolution.NOT_EXECUTED),
    "person: give up": decide(Resolution.GIVE_UP),
    "deadline": deadline,
}
NOT_EXECUTED = {"answer not sent", "answer our fault", "proof not sent"}
TRACES = {"observed", "proof done"}


def _can_be(key: Key, path: tuple[str, ...]) -> bool:
    """The first attempt either ran or did not."""
    is_of_first = key.open_attempt in {1, None} or path[-1] == "proof not sent"
    if path[-1] in NOT_EXECUTED and is_of_first:
        return not TRACES & set(path)
    first = next((name for name in path if name in NOT_EXECUTED or name == "answer unknown"), "")
    return path[-1] not in TRACES or not ({"proof not sent", first} & NOT_EXECUTED & set(path))


def _check_executed(path: tuple[str, ...], key: Key) -> None:
    check_ways_out(key)
    assert key.runs == [("A", 1)], path
    assert all(end.workflow_id == W1 for end in key.ends() if isinstance(end, Started)), path


def _check_doubted(path: tuple[str, ...], key: Key) -> None:
    check_ways_out(key)
    attempts = [attempt for _, attempt in key.runs]
    assert attempts == list(range(1, len(attempts) + 1)), path
    ruled_out = [name for name in path if name in NOT_EXECUTED or name == "person: not executed"]
    assert len(attempts) <= 1 + len(ruled_out), path
    assert key.runs_at_trace in {None, len(attempts)}, path


@pytest.mark.parametrize("most", [pytest.param(4, id="4"), pytest.param(6, id="6", marks=pytest.mark.slow)])
def test_a_run_that_was_executed_is_called_once_and_found_in_every_order(most: int) -> None:
    """Answers, proofs, observations, timers, duplicates, restarts and persons: one call, one custody or result."""
    checked = 0
    for path, key in orders(sent(), EXECUTED, most, _can_be):
        _check_executed(path, key)
        if len(path) == most:
            check_end(path, key)
        checked += 1
    assert checked == {4: 5_860, 6: 187_300}[most]


@pytest.mark.parametrize("most", [pytest.param(4, id="4"), pytest.param(6, id="6", marks=pytest.mark.slow)])
def test_no_attempt_follows_one_that_may_have_run_in_any_order(most: int) -> None:
    """A new call needs a proof or a person that rules the last one out, and none comes after a trace of a run."""
    for path, key in orders(sent(), DOUBTED, most, _can_be):
        _check_doubted(path, key)
        if len(path) == most:
            check_end(path, key)
