"""One seed: several processes over one cluster, a random schedule of work and faults, and what must hold at the end.

Run one seed by hand, with what happened: python -m tests.engine.simulation SEED [gentle|rough]
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from processor.engine.entries import POSITION_KEY, unpack
from processor.engine.limits import Limits
from processor.engine.member import Member
from processor.engine.partition import Phase
from processor.engine.ports import OutputRecord
from tests.engine.cluster import Cluster, Transaction
from tests.engine.disk import Disk, opener
from tests.engine.ledger import NOT_SENT, Ledger
from tests.engine.marks import MARK_INTERVAL_MS, MARKING_SHARE, MarkCheck
from tests.engine.toy import CALL_MS, KNOWN_MS, Head, MarkedToy, Toy
from tests.engine.world import Crash, FakeCaller, FakeLog, Watcher

PARTITIONS, KEYS, PROCESSES_MAX = 3, 5, 3
SESSION_MS = 3_000
RARE_SHARE = 0.3  # Of the crashes.
ENTRANCE_SHARE = 0.3  # Of the worlds without a bug.
BROKEN_SHARE = 0.1  # Of the numbers, where a build has a bug.
# Points that are passed so seldom that a process must wait for them to die there.
RARE = (
    "lost",
    "revoked",
    "closed",
    "publish_evidence",
    "evidence published",
    "transact: unknown",
    "end_transaction: ended",
)


@dataclass(frozen=True, slots=True)
class Roughness:
    """How often each fault happens, where it is asked for, and what a schedule may do."""

    faults: dict[str, float]
    actions: dict[str, float]
    proofs: dict[str, float]
    broken: float = 0.0  # How often the first build has a bug.


ROUGH = Roughness(
    faults={
        "abort": 0.03,
        "unknown": 0.05,
        "unknown commits": 0.5,
        "unavailable": 0.03,
        "late heartbeat": 0.2,
        "records before a rebalance": 0.3,
        "no delivery report": 0.05,
    },
    actions={
        "turn": 60,
        "publish": 6,
        "pass": 8,
        "pass long": 0.6,
        "crash": 1.2,
        "stall": 1.2,
        "start": 2,
        "leave": 0.8,
        "rebalance": 1.2,
        "outage": 0.6,
        "registry": 0.4,
        "compact": 0.6,
        "new disk": 0.3,
        "upstream": 0.8,
    },
    proofs={"done": 6, "refused": 1, NOT_SENT: 2, "unknown": 0.5, "unknown, executed": 0.5},
    broken=0.5,
)
# Nothing here may make a run unknown: nobody dies, stands still or is out of reach for longer than a drain lasts.
GENTLE = Roughness(
    faults={**ROUGH.faults, "unavailable": 0.01},
    actions={**ROUGH.actions, "crash": 0, "stall": 0, "outage": 0, "pass long": 0, "new disk": 0},
    proofs={"done": 6, "refused": 1, NOT_SENT: 2},
)


class Violation(AssertionError):  # what the engine promised did not hold
    """A promise was broken."""


@dataclass(slots=True)
class Process:
    """One process, and its fate."""

    world: "Simulation"
    name: str
    disk: Disk
    crash_at: str = ""  # The point at which it dies.
    crash_in: int = -1  # Points until it dies, or stands still.
    stall_in: int = -1
    died_at: int | None = None
    member: Member = field(init=False)
    caller: FakeCaller = field(init=False)
    log: FakeLog = field(init=False)
    machine: Toy = field(init=False)

    def point(self, name: str) -> None:
        """Pass a point."""
        self.world.points[name] += 1
        if self.crash_in >= 0 or name == self.crash_at:
            self.crash_in -= 1
            if self.crash_in < 0 or name == self.crash_at:
                self.world.crashed_at[name] += 1
                self.world.say(f"{self.name} crashes at {name}")
                raise Crash
        if self.stall_in >= 0:
            self.stall_in -= 1
            if self.stall_in < 0:
                self.world.stall(self, name)

    def happens(self, what: str) -> bool:
        """Draw a fault."""
        return self.world.draws(what)

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.world.passes(ms + self.world.rng.randrange(20))


class Simulation:
    """One world, one seed."""

    def __init__(self, seed: int, roughness: Roughness, *, is_talking: bool = False) -> None:
        self.rng = Random(seed)
        self.roughness = roughness
        self.is_calm = False
        self.is_talking = is_talking
        self.points: Counter[str] = Counter()
        self.crashed_at: Counter[str] = Counter()
        self.watcher = Watcher(self.say)
        self.cluster = Cluster(self.rng, PARTITIONS, Toy.input_topic, Toy.state_topic)
        self.cluster.on_committed = self._note
        self.ledger = Ledger(self.rng, roughness.proofs, self.say)
        self.processes: list[Process] = []
        self.intents: set[tuple[int, int]] = set()
        self.key_of: dict[int, str] = {}
        self.broken: dict[int, str] = {}
        self.is_broken = self.rng.random() < roughness.broken
        # Bounded depth and timers that wait for evidence exclude each other, and what is parked holds its place.
        self.is_entrance = not self.is_broken and self.rng.random() < ENTRANCE_SHARE
        self.is_marking = Random(-seed).random() < MARKING_SHARE  # Of its own: other draws stay as they are.
        self.marks = MarkCheck(self.cluster)
        self.poisons = 0
        self._build = "build-1"
        self._stalled: list[Process] = []
        self._started = 0
        self._upstream: list[Transaction] = []

    # --- time and chance --------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell what happens, when run by hand."""
        if self.is_talking:
            print(f"{self.cluster.now - 1_000_000:>8} {text}")  # noqa: T201  # only by hand

    def draws(self, what: str) -> bool:
        """Say whether a fault happens."""
        share = self.roughness.faults[what]
        if self.is_calm and what != "unknown commits":
            return False
        is_drawn = self.rng.random() < share
        if is_drawn and self.is_talking and what not in {"late heartbeat", "records before a rebalance"}:
            self.say(f"! {what}")
        return is_drawn

    def passes(self, ms: int) -> None:
        """Let time pass: calls are answered, old transactions end, the dead are expelled."""
        self.cluster.passes(self.cluster.now + ms)
        for process in self.processes:
            if process.died_at is None:
                process.caller.pump()
        for process in [one for one in self.processes if one.died_at is not None]:
            if self.cluster.now - (process.died_at or 0) >= SESSION_MS:
                self.cluster.group.leave(process.log.member)
                self.processes.remove(process)

    # --- processes --------------------------------------------------------------------------------------------

    def start(self, disk: Disk | None = None) -> None:
        """Start a process, on a disk that another one left or on a new one."""
        self._started += 1
        process = Process(self, f"p{self._started}", disk or Disk())
        process.log = FakeLog(self.cluster, process.name, process, self.rng)
        process.caller = FakeCaller(self.ledger, process, self.clock, slots=3, queue_ms=self.rng.choice((0, 30)))
        broken = self.broken if self._build == "build-1" else None
        kind = MarkedToy if self.is_marking else Toy
        process.machine = kind(broken, waits_for_evidence=not self.is_entrance)
        process.disk.in_use.clear()
        process.member = Member(
            process.machine,
            process.log,
            process.caller,
            open_store=opener(process.disk, process),
            clock=self.clock,
            observer=self.watcher,
            process_id=process.name,
            build=self._build,
            limits=Limits(
                drain_ms=CALL_MS + 1_000,
                depth_max=4 if self.is_entrance else None,
                records_max=self.rng.choice((2, 500)),
                mark_interval_ms=MARK_INTERVAL_MS if self.is_marking else None,
                events_max=3 if self.is_marking else 1_000,  # What does not fit waits, and is not judged.
            ),
        )
        self.processes.append(process)
        self.say(f"{process.name} starts")
        with self._alive(process):
            process.log.join(process.member)

    def clock(self) -> int:
        """Return the instant."""
        return self.cluster.now

    @contextmanager
    def _alive(self, process: Process) -> Iterator[None]:
        try:
            yield
        except Crash:
            process.died_at = self.cluster.now

    def turn(self, process: Process) -> None:
        """Let one process take a turn."""
        with self._alive(process):
            process.member.turn()

    def stall(self, process: Process, name: str) -> None:
        """Let a process stand still at a point, past its session, while the others go on; then let it resume."""
        self.say(f"{process.name} stalls at {name}")
        self._stalled.append(process)
        if self.rng.random() < 0.7:
            self.cluster.group.leave(process.log.member)
        for _ in range(self.rng.randrange(60)):
            self.passes(self.rng.choice((1, 10, 100, 400)))
            others = self.free()
            if others:
                self.turn(self.rng.choice(others))
        self._stalled.remove(process)
        self.say(f"{process.name} resumes")

    def free(self) -> list[Process]:
        """Return the processes that live and do not stand still."""
        return [one for one in self.processes if one.died_at is None and one not in self._stalled]

    # --- the schedule -----------------------------------------------------------------------------------------

    def run(self, steps: int) -> "Simulation":
        """Run the schedule, then calm, then a second build for what the first could not do; raises Violation."""
        self.start()
        actions = self.roughness.actions
        for action in self.rng.choices(list(actions), list(actions.values()), k=steps):
            self.act(action)
            self._check_violations()
        self.settle()
        self.check()
        return self

    def act(self, action: str) -> None:
        """Do one thing."""
        free = self.free()
        if action == "turn":
            self.passes(self.rng.choice((0, 1, 5, 30)))
            if free:
                self.turn(self.rng.choice(free))
        elif action in {"pass", "pass long"}:
            self.passes(self.rng.choice((1, 50, 500)) if action == "pass" else self.rng.choice((3_000, 15_000)))
        elif action == "start":
            if len(free) < PROCESSES_MAX:
                self.start()
        elif free and action in {"crash", "stall", "leave", "new disk", "registry"}:
            self._disturb(action, self.rng.choice(free))
        else:
            self._outside(action)

    def _disturb(self, action: str, process: Process) -> None:
        if action == "crash" and self.rng.random() < RARE_SHARE:
            process.crash_at = self.rng.choice(RARE)
        elif action == "crash":
            process.crash_in = self.rng.randrange(40)
        elif action == "stall":
            process.stall_in = self.rng.randrange(40)
        elif action == "registry":
            process.machine.is_registry_down = not process.machine.is_registry_down
        elif action == "leave":
            self.say(f"{process.name} leaves")
            self.leave(process)
        else:
            self.say(f"{process.name} crashes and starts on its old disk")
            process.died_at = self.cluster.now
            self.start(process.disk)

    def leave(self, process: Process) -> None:
        """Stop a process as SIGTERM would."""
        with self._alive(process):
            process.member.leave()
            self.processes.remove(process)

    def _outside(self, action: str) -> None:
        if action == "publish":
            for _ in range(self.rng.choice((1, 1, 4))):
                self._publish()
        elif action == "rebalance":
            self.cluster.group.rebalance()
        elif action == "outage":
            self.cluster.is_down = not self.cluster.is_down
            self.say(f"broker is {'down' if self.cluster.is_down else 'up'}")
        elif action == "compact":
            for log in self.cluster.logs(Toy.state_topic):
                log.compact()
        elif action == "upstream":
            self._open_upstream()

    def _publish(self) -> None:
        draw = self.rng.random()
        if self.key_of and draw < 0.15:  # Upstream repeats itself.
            number = self.rng.choice(list(self.key_of))
            self.cluster.publish(self.key_of[number].encode(), json.dumps({"id": number}).encode())
        elif draw < 0.2:
            self.poisons += 1
            self.cluster.publish(b"k0", b"no json")
        else:
            number, key = len(self.key_of), f"k{self.rng.randrange(KEYS)}"
            self.key_of[number] = key
            if self.is_broken and self.rng.random() < BROKEN_SHARE:
                self.broken[number] = self.rng.choice(("Arrived", "Permit", "Answered", "Fired", "Resumed"))
                self.say(f"{number} of {key} breaks on {self.broken[number]}")
            self.cluster.publish(key.encode(), json.dumps({"id": number}).encode())

    def _open_upstream(self) -> None:
        """Let upstream open a transaction, or end the one that is open."""
        if self._upstream and self._upstream[-1].is_open:
            self.cluster.end(self._upstream[-1], is_commit=False)
        else:
            self._upstream.append(self.cluster.begin())
            record = OutputRecord(Toy.input_topic, f"k{self.rng.randrange(KEYS)}".encode(), b'{"id": -1}')
            self.cluster.append(record, self._upstream[-1])

    # --- the end ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Stop all faults and let everything finish; then the next build, then the end of every memory."""
        self.say("calm")
        self.is_calm, self.cluster.is_down = True, False
        for process in self.processes:
            process.crash_in, process.stall_in, process.crash_at = -1, -1, ""
            process.machine.is_registry_down = False
        self._until(self._is_quiet, "everything is done, or parked")
        if self.broken:
            self._build = "build-2"
            for process in self.free():
                self.leave(process)
            self._until(self._is_quiet, "the next build has done what was parked")
        self._compare()
        self.passes(KNOWN_MS + 1)
        self._until(lambda: not any(self._stored()), "the last memory is forgotten")
        self._compare()

    def _until(self, is_done: Callable[[], bool], what: str) -> None:
        for turns in range(4_000):
            if not self.free():
                self.start()
            self.passes(self.rng.choice((1, 20, 200)))
            for process in self.free():
                self.turn(process)
            if turns % 5 == 0 and is_done():
                return
        raise Violation(f"never: {what}; {self._describe()}")

    def _is_quiet(self) -> bool:
        members = [one.member for one in self.free()]
        running = [number for one in members for number in one.partitions if one.is_ready()]
        if sorted(running) != list(range(PARTITIONS)) or any(one.died_at is not None for one in self.processes):
            return False
        if not all(one.caller.is_idle() for one in self.free()) or self.cluster.open:
            return False
        finished = Counter(result["id"] for result in self.results())
        parked = any(member.counts()["parked"] for member in members)
        return len(finished) == len(self.key_of) or (parked and self._build == "build-1" and self._is_still())

    def _is_still(self) -> bool:
        """Say whether nothing but parked keys is left."""
        parked = {key for one in self.free() for part in one.member.partitions.values() for key in part.parked}
        finished = {result["id"] for result in self.results()}
        return all(number in finished or key in parked for number, key in self.key_of.items())

    def results(self) -> list[dict[str, Any]]:
        """Return the results that a reader of committed records sees, in order."""
        return [json.loads(record.value or b"") for record in self.cluster.values("results")]

    # --- what must hold ---------------------------------------------------------------------------------------

    def _note(self, transaction: Transaction) -> None:
        for record in transaction.records:
            if record.topic == Toy.state_topic and record.value is not None and record.key != POSITION_KEY.encode():
                entry = unpack(record.value)
                part = json.loads(entry.body)
                if isinstance(part, list) and part[0] == Head.__name__ and part[1]["phase"] == "intent":
                    self.intents.add((part[1]["id"], part[1]["attempt"]))

        self.marks.note(transaction)

    def _check_violations(self) -> None:
        if self.cluster.violations:
            raise Violation(self.cluster.violations[0])
        if len(set(self.ledger.executed)) != len(self.ledger.executed):
            raise Violation(f"run twice: {[n for n, c in Counter(self.ledger.executed).items() if c > 1]}")

    def check(self) -> None:
        """Check every promise."""
        self._check_violations()
        results = self.results()
        times = Counter(result["id"] for result in results)
        if sorted(times) != sorted(self.key_of) or set(times.values()) - {1}:
            raise Violation(f"results {times} for {len(self.key_of)} numbers")
        self._check_outcomes({result["id"]: result["outcome"] for result in results})
        order: dict[str, list[int]] = defaultdict(list)
        for result in results:
            order[self.key_of[result["id"]]].append(result["id"])
        if any(numbers != sorted(numbers) for numbers in order.values()):
            raise Violation(f"out of order: {dict(order)}")
        if len(self.cluster.values("dead-letters")) != self.poisons:
            raise Violation(f"{len(self.cluster.values('dead-letters'))} dead letters for {self.poisons} poisons")
        if not all(one.caller.is_idle() for one in self.free()):
            raise Violation("a permit was never given back")

    def _check_outcomes(self, outcomes: dict[int, str]) -> None:
        if set(self.ledger.sent) - self.intents:
            raise Violation(f"sent without an intent: {set(self.ledger.sent) - self.intents}")
        ran = set(self.ledger.executed)
        for number, outcome in outcomes.items():
            if outcome == "undetermined" and self.roughness is GENTLE and not self.is_entrance:
                raise Violation(f"{number} is undetermined although nobody died")
            if outcome != "undetermined" and (outcome == "done") != (number in ran):
                raise Violation(f"{number} ended {outcome}, executed: {number in ran}")

    def _stored(self) -> Iterator[tuple[int, str]]:
        for process in self.free():
            for number in process.member.partitions:
                store = process.disk.stores[number]
                yield from ((number, key) for key, _ in store.scan("") if key != POSITION_KEY)

    def _compare(self) -> None:
        """Compare each store with its topic, and each count with a recount."""
        for process in self.free():
            for number, partition in process.member.partitions.items():
                records = self.cluster.logs(Toy.state_topic)[number].committed()
                told = {(record.key or b"").decode(): record.value for record in records}
                truth = {key: unpack(value) for key, value in told.items() if value is not None}
                stored = dict(process.disk.stores[number].scan(""))
                if stored != truth:
                    keys = {key for key in {*stored, *truth} if stored.get(key) != truth.get(key)}
                    raise Violation(f"store [{number}] differs from its topic at {sorted(keys)}")
                gauges = Counter(entry.gauge for key, entry in truth.items() if key != POSITION_KEY)
                if partition.counts != [gauges[gauge] for gauge in range(len(partition.counts))]:
                    raise Violation(f"[{number}] counts {partition.counts}, a recount gives {dict(gauges)}")

    def _describe(self) -> str:
        finished = {result["id"] for result in self.results()}
        missing = {number: key for number, key in self.key_of.items() if number not in finished}
        phases = [(one.name, {n: p.phase.name for n, p in one.member.partitions.items()}) for one in self.free()]
        stopped = any(p.phase is Phase.STOPPED for one in self.free() for p in one.member.partitions.values())
        heads = [
            entry.body.decode()
            for one in self.free()
            for number in one.member.partitions
            for key, entry in one.disk.stores[number].scan("")
            if key.endswith("head") or "parked" in key
        ]
        said = self.watcher.said[-3:]
        return (
            f"without result: {missing}; {phases}; stopped: {stopped}; {said}; now {self.clock()}; {heads[:6]}; "
            f"{[vars(one.caller) for one in self.free()]} {len(self.cluster.open)}"
        )


if __name__ == "__main__":
    chosen = GENTLE if "gentle" in sys.argv else ROUGH
    world = Simulation(int(sys.argv[1]), chosen, is_talking=True).run(250)
    print(world.results())  # noqa: T201
    print(world.watcher.seen)  # noqa: T201
