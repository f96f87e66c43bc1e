"""Whatever the order in which answers, evidence, timers, decisions and restarts come: one way out for each request."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import pytest

from processor.core.messages import Finished, Resolution, Resumed, Started
from processor.core.model import AMENDABLE, DAY_MS, SECOND_MS
from processor.core.proof import Proof
from processor.core.state import LaunchPhase
from tests.core.launching import DEADLINE, W1, Key, answered, decided, observed, prepared, proved, sent

Act: TypeAlias = Callable[[Key], object]
AFTER_ALL = DEADLINE + 60 * DAY_MS


def _answer(proof: Proof, made_id: str | None = None) -> Act:
    """The open call is answered; a call that died with its owner is not."""

    def act(key: Key) -> None:
        attempt = key.open_attempt
        if attempt is not None:
            key.open_attempt = None
            key.tell(answered(proof, made_id and f"{made_id[:-1]}{attempt}", attempt=attempt))

    return act


def _wake_in(phase: LaunchPhase) -> Act:
    """The head's timer comes due while it is in a phase."""

    def act(key: Key) -> None:
        if key.phase is phase and not (phase is LaunchPhase.INTENT and key.open_attempt is not None):
            key.wake()

    return act


def _restart(key: Key) -> None:
    """A new owner takes over: calls and permits of the old one are gone."""
    key.open_attempt = key.wants = None
    for name, part in list(key.state.items()):
        if part.is_waiting:
            key.tell(Resumed(name))


def _deadline(key: Key) -> None:
    """The request's deadline passes, and every timer until then."""
    if key.open_attempt is None:
        key.pass_time(DEADLINE)


def _decide(resolution: Resolution, workflow_id: str | None = None) -> Act:
    """A person decides about what they see."""
    return lambda key: key.tell(decided(resolution, workflow_id, attempt=key.head.attempt if key.head else 1))


# The run was executed as workflow W1, and everything that can be heard of that.
EXECUTED: Mapping[str, Act] = {
    "answer done": _answer(Proof.DONE, W1),
    "answer unknown": _answer(Proof.UNKNOWN),
    "proof done": lambda key: key.tell(proved(Proof.DONE, W1)),
    "observed": lambda key: key.tell(observed(W1)),
    "intent timer": _wake_in(LaunchPhase.INTENT),
    "window timer": _wake_in(LaunchPhase.UNKNOWN),
    "prepared again": lambda key: key.tell(prepared()),
    "restart": _restart,
    "person: started": _decide(Resolution.STARTED, W1),
    "deadline": _deadline,
}
# The first attempt was not executed, or nobody can tell; persons and proofs bring the next one about.
DOUBTED: Mapping[str, Act] = {
    "answer unknown": _answer(Proof.UNKNOWN),
    "answer not sent": _answer(Proof.NOT_SENT),
    "answer our fault": _answer(Proof.OUR_FAULT),
    "proof not sent": lambda key: key.tell(proved(Proof.NOT_SENT)),
    "observed": lambda key: key.trace(observed(W1)),
    "proof done": lambda key: key.trace(proved(Proof.DONE, W1)),
    "back-off": _wake_in(LaunchPhase.BACKING_OFF),
    "person: not executed": _decide(Resolution.NOT_EXECUTED),
    "person: give up": _decide(Resolution.GIVE_UP),
    "deadline": _deadline,
}
NOT_EXECUTED = {"answer not sent", "answer our fault", "proof not sent"}
TRACES = {"observed", "proof done"}


def _act(key: Key, act: Act) -> Key:
    """Do one thing to a copy of a key; a permit that is wanted comes at once."""
    then = key.copy()
    then.now += SECOND_MS
    act(then)
    while then.wants is not None:
        then.permit()
    return then


def _orders(
    key: Key, acts: Mapping[str, Act], most: int, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Return every order of at most so many things that can happen, and the key after it."""
    for name, act in acts.items():
        if name not in path and most > 0 and _can_be(key, (*path, name)):
            then = _act(key, act)
            yield (*path, name), then
            yield from _orders(then, acts, most - 1, (*path, name))


def _can_be(key: Key, path: tuple[str, ...]) -> bool:
    """The first attempt either ran or did not."""
    is_of_first = key.open_attempt in {1, None} or path[-1] == "proof not sent"
    if path[-1] in NOT_EXECUTED and is_of_first:
        return not TRACES & set(path)
    first = next((name for name in path if name in NOT_EXECUTED or name == "answer unknown"), "")
    return path[-1] not in TRACES or not ({"proof not sent", first} & NOT_EXECUTED & set(path))


def _check_ways_out(key: Key, request_id: str = "A") -> None:
    """One custody or result, and an amendment only after a result that can be amended."""
    ends = key.ends(request_id)
    first = [end for end in ends if end.revision == 1]
    amendments = ends[1:]
    is_here = key.head is not None
    assert len(first) == (0 if is_here else 1), ends
    assert len(amendments) <= 1
    for amendment in amendments:
        assert isinstance(amendment, Started)
        assert amendment.revision == 2
        assert isinstance(first[0], Finished)
        assert first[0].outcome in AMENDABLE


def _check_end(path: tuple[str, ...], key: Key) -> None:
    """When all time has passed, each request has left and nothing is remembered."""
    end = key.copy()
    end.open_attempt = None
    end.pass_time(AFTER_ALL)
    assert end.state == {}, path
    _check_ways_out(end)


def _check_executed(path: tuple[str, ...], key: Key) -> None:
    _check_ways_out(key)
    assert key.runs == [("A", 1)], path
    assert all(end.workflow_id == W1 for end in key.ends() if isinstance(end, Started)), path


def _check_doubted(path: tuple[str, ...], key: Key) -> None:
    _check_ways_out(key)
    attempts = [attempt for _, attempt in key.runs]
    assert attempts == list(range(1, len(attempts) + 1)), path
    ruled_out = [name for name in path if name in NOT_EXECUTED or name == "person: not executed"]
    assert len(attempts) <= 1 + len(ruled_out), path
    assert key.runs_at_trace in {None, len(attempts)}, path


@pytest.mark.parametrize("most", [pytest.param(4, id="4"), pytest.param(6, id="6", marks=pytest.mark.slow)])
def test_a_run_that_was_executed_is_called_once_and_found_in_every_order(most: int) -> None:
    """Answers, proofs, observations, timers, duplicates, restarts and persons: one call, one custody or result."""
    checked = 0
    for path, key in _orders(sent(), EXECUTED, most):
        _check_executed(path, key)
        if len(path) == most:
            _check_end(path, key)
        checked += 1
    assert checked == {4: 5_860, 6: 187_300}[most]


@pytest.mark.parametrize("most", [pytest.param(4, id="4"), pytest.param(6, id="6", marks=pytest.mark.slow)])
def test_no_attempt_follows_one_that_may_have_run_in_any_order(most: int) -> None:
    """A new call needs a proof or a person that rules the last one out, and none comes after a trace of a run."""
    for path, key in _orders(sent(), DOUBTED, most):
        _check_doubted(path, key)
        if len(path) == most:
            _check_end(path, key)
