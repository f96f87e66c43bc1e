"""Every order in which things can happen to a launch key, and what must hold after each of them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from random import Random
from typing import TypeAlias

from processor.core.messages import CallAnswered, Finished, Resolution, Resumed, Started, VerdictReached
from processor.core.model import DAY_MS, SECOND_MS, Outcome
from processor.core.proof import Proof
from processor.core.state import LaunchPhase
from tests.core.launching import DEADLINE, Key, answered, decided

Act: TypeAlias = Callable[[Key], object]
AMENDABLE = frozenset({Outcome.EXPIRED, Outcome.UNDETERMINED})
AFTER_ALL = DEADLINE + 60 * DAY_MS


def answer_with(make: Callable[[int], CallAnswered]) -> Act:
    """Return that the open call is answered, given its attempt; a call that died with its owner is not."""

    def act(key: Key) -> None:
        attempt = key.open_attempt
        if attempt is not None:
            key.open_attempt = None
            key.tell(make(attempt))

    return act


def answer(proof: Proof, made_id: str | None = None) -> Act:
    """Return that the open run is answered; each attempt makes a workflow of its own."""
    return answer_with(lambda attempt: answered(proof, made_id and f"{made_id[:-1]}{attempt}", attempt=attempt))


def wake_in(phase: LaunchPhase) -> Act:
    """Return that the head's timer comes due while it is in a phase."""

    def act(key: Key) -> None:
        if key.phase is phase and not (phase is LaunchPhase.INTENT and key.open_attempt is not None):
            key.wake()

    return act


def restart(key: Key) -> None:
    """A new owner takes over: calls and permits of the old one are gone."""
    key.open_attempt = key.wants = None
    for name, part in list(key.state.items()):
        if part.is_waiting:
            key.tell(Resumed(name))


def judge(key: Key, draw: Random) -> None:
    """Whether a refusal is our own fault becomes known, if that is waited for; mostly it is."""
    head = key.head
    if head is not None and head.phase is LaunchPhase.SUSPECT:
        key.tell(VerdictReached(head.attempt, draw.random() < 0.7, head.prepared.origin.request_id))


def deadline(key: Key) -> None:
    """The request's deadline passes, and every timer until then."""
    if key.open_attempt is None:
        key.pass_time(DEADLINE)


def decide(resolution: Resolution, workflow_id: str | None = None) -> Act:
    """Return that a person decides about what they see."""
    return lambda key: key.tell(decided(resolution, workflow_id, attempt=key.head.attempt if key.head else 1))


def act_on(key: Key, act: Act) -> Key:
    """Do one thing to a copy of a key; a permit that is wanted comes at once."""
    then = key.copy()
    then.now += SECOND_MS
    act(then)
    while then.wants is not None:
        then.permit()
    return then


def orders(
    key: Key,
    acts: Mapping[str, Act],
    most: int,
    can_be: Callable[[Key, tuple[str, ...]], bool] = lambda _, __: True,
    path: tuple[str, ...] = (),
) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Return every order of at most so many things that can happen, and the key after it."""
    for name, act in acts.items():
        if name not in path and most > 0 and can_be(key, (*path, name)):
            then = act_on(key, act)
            yield (*path, name), then
            yield from orders(then, acts, most - 1, can_be, (*path, name))


def check_ways_out(key: Key) -> None:
    """One custody or result, and an amendment only after a result that can be amended."""
    ends = key.ends("A")
    first = [end for end in ends if end.revision == 1]
    amendments = ends[1:]
    assert len(first) == (0 if is_here(key) else 1), ends
    assert len(amendments) <= 1
    for amendment in amendments:
        assert isinstance(amendment, Started)
        assert amendment.revision == 2
        assert isinstance(first[0], Finished)
        assert first[0].outcome in AMENDABLE


def told_of(ends: Sequence[Started | Finished], runs: Collection[str]) -> Counter[str]:
    """Check the ways out of a request that was executed as these workflows; return them in words."""
    what: Counter[str] = Counter()
    firsts = [end for end in ends if end.revision == 1]
    assert len(firsts) <= 1
    assert len(ends) - len(firsts) <= 1
    for end in ends:
        if isinstance(end, Started):
            assert end.workflow_id in runs, "a request went on with the run of another one"
            what[f"started {end.revision} {end.told_by}"] += 1
        else:
            what[f"{end.outcome} {end.reason}"] += 1
    if len(ends) == 2:
        assert isinstance(ends[0], Finished)
        assert ends[0].outcome in AMENDABLE
    return what


def is_here(key: Key) -> bool:
    """Say whether a key has custody of its only request."""
    issued, head = key.issued("A"), key.head
    if issued is not None:
        return issued.workflow_id is None
    return head is not None and head.link_attempt == 1


def check_end(path: tuple[str, ...], key: Key) -> None:
    """When all time has passed, each request has left and nothing is remembered."""
    end = key.copy()
    end.open_attempt = None
    end.pass_time(AFTER_ALL)
    assert end.state == {}, path
    check_ways_out(end)
    assert {abs(number) for number in end.links()} >= set(end.owed), path
