"""One decider of this process: its machine, its member of the group, its thread."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from processor.adapters.kafka import KafkaConfig, KafkaLog
from processor.adapters.store_buffer import BufferedStore
from processor.adapters.store_memory import MemoryStore
from processor.adapters.store_rocks import RocksStore
from processor.core.catalogue import UnknownPolicy
from processor.core.completion import Completion
from processor.core.completion_steps import CompletionPolicy
from processor.core.launch import Launch
from processor.core.launch_parts import LaunchPolicy
from processor.core.model import DAY_MS
from processor.core.preparation import Preparation, PreparationPolicy
from processor.engine.limits import Limits
from processor.engine.member import Member
from processor.engine.ports import Caller, Machine, Store
from processor.kafka_config import client_config, consumer_config, plain_producer_config, producer_config, reader_config
from processor.roles.clock import wall_clock
from processor.roles.machines import CompletionMachine, LaunchMachine, PreparationMachine
from processor.roles.observer import EngineObserver
from processor.roles.surroundings import Surroundings
from processor.settings import Settings

# Evidence outlives an outage of the broker: it helps as long as its run is unknown, and after a rerun it is recorded.
EVIDENCE_MS = 3_600_000

log = structlog.stdlib.get_logger()


class Decider:
    """A member in its own thread."""

    def __init__(self, member: Member, name: str, on_crash: Callable[[], None]) -> None:
        self.name = name
        self.member = member
        self._on_crash = on_crash
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let the member drain and leave."""
        self._is_stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False when it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.member.run(self._is_stopping.is_set)
        except Exception as error:  # whatever ends a decider ends the process, in order
            log.critical("process.crashed", decider=self.name, exc_info=error)
            self._on_crash()


def make_preparation(around: Surroundings, caller: Caller, is_held_up: Callable[[], bool]) -> Member:
    """Make the member of `preparation`; its intake follows what it holds itself and what launch still has to do."""
    engine = around.settings.engine
    policy = PreparationPolicy(memory_ms=_ms(engine.duplicate_memory_s))
    machine = PreparationMachine(
        Preparation(around.catalogue, policy),
        around.make_writing(),
        around.make_decoder(),
        around.metrics.requests.duplicates.inc,
    )
    limits = replace(_limits(around.settings), depth_max=engine.lanes_max)
    return _member(around, machine, caller, limits, is_downstream_full=is_held_up)


def make_launch(around: Surroundings, caller: Caller) -> Member:
    """Make the member of `launch`; its intake never pauses for depth: evidence must overtake waiting work."""
    settings = around.settings
    engine = settings.engine
    policy = LaunchPolicy(
        send_window_ms=_ms(engine.send_window_s),
        run_deadline_ms=_ms(max(api.run_deadline_s for api in settings.profiles().values())),
        intent_margin_ms=_ms(engine.settle_margin_s),
        clock_margin_ms=_ms(engine.clock_margin_s),
        amendment_ms=_ms(engine.amendment_window_s),
        memory_ms=_ms(max(engine.duplicate_memory_s, engine.amendment_window_s)) + DAY_MS,
        evidence_wait_ms=_ms(engine.evidence_wait_s_max),
    )
    return _member(
        around, LaunchMachine(Launch(around.catalogue, policy), around.make_writing()), caller, _limits(settings)
    )


def make_completion(around: Surroundings, caller: Caller) -> Member:
    """Make the member of `completion`."""
    settings = around.settings
    engine = settings.engine
    policy = CompletionPolicy(
        grace_ms=_ms(engine.webhook_grace_s),
        result_wait_ms=_ms(engine.result_wait_s),
        result_bytes_max=settings.topics.result_bytes_max,
        amendment_ms=_ms(engine.amendment_window_s),
        memory_ms=_ms(engine.duplicate_memory_s),
    )
    machine = CompletionMachine(Completion(around.catalogue, policy), around.make_writing())
    policies = {workflow.unknown_policy for workflow in around.catalogue.workflows.values()}
    mark_interval_ms = _ms(engine.mark_interval_s) if UnknownPolicy.RERUN in policies else None
    return _member(around, machine, caller, replace(_limits(settings), mark_interval_ms=mark_interval_ms))


def _limits(settings: Settings) -> Limits:
    engine = settings.engine
    return Limits(
        commit_interval_ms=settings.kafka.commit_interval_ms,
        drain_ms=_ms(engine.drain_s_max),
        purge_interval_ms=_ms(engine.purge_interval_s),
        position_age_ms=_ms(engine.position_age_s),
        watchdog_ms=_ms(engine.watchdog_s),
        evidence_wait_ms=_ms(engine.evidence_wait_s_max),
        record_bytes_max=settings.topics.record_bytes_max,
    )


def _member(
    around: Surroundings,
    machine: Machine,
    caller: Caller,
    limits: Limits,
    *,
    is_downstream_full: Callable[[], bool] = lambda: False,
) -> Member:
    settings, name = around.settings, machine.name
    return Member(
        machine,
        KafkaLog(_kafka(settings, machine, around.start_id)),
        caller,
        open_store=_store_opener(settings, name),
        clock=wall_clock,
        observer=EngineObserver(name, around.metrics),
        process_id=around.start_id,
        build=around.build,
        limits=limits,
        is_downstream_full=is_downstream_full,
    )


def _kafka(settings: Settings, machine: Machine, start_id: str) -> KafkaConfig:
    name = machine.name
    return KafkaConfig(
        input_topic=machine.input_topic,
        state_topic=machine.state_topic,
        consumer=consumer_config(settings, name),
        producer=producer_config(settings, name, start_id),
        reader=reader_config(settings, f"{name}.restore", decider=name),
        evidence=plain_producer_config(settings, f"{name}.evidence", delivery_timeout_ms=EVIDENCE_MS),
        admin=client_config(settings, f"{name}.admin"),
        request_s=settings.kafka.operation_timeout_s,
    )


def _store_opener(settings: Settings, decider: str) -> Callable[[int], Store]:
    if settings.state.store == "memory":
        return lambda _: MemoryStore()
    directory = Path(settings.state.directory) / settings.application_id / decider
    return lambda number: BufferedStore(RocksStore(directory / str(number)))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
