"""The whole job once, from requests to the verdict: the order of things, and what the exit code says."""

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import uvloop

from processor.adapters.avro_records import MICROSECONDS
from processor.adapters.public_events import RequestWriter
from processor.adapters.registry import registry_for
from processor.cli.demo_requests import Batch
from processor.cli.demo_screen import complain_about, say_events, say_verdict, screen_for, verdict_json
from processor.cli.demo_settings import FAULTS, Place
from processor.cli.demo_stage import Stage, staged
from processor.cli.demo_tally import Board, ResultSeen, Verdict, examples, judged
from processor.cli.demo_watch import follow, read_back
from processor.cli.output import complain, say, say_json
from processor.cli.starting import now, publisher_for
from processor.errors import FatalError, SettingsInvalid, TransientError
from processor.logs import configure_logging

LOOK_EVERY_S = 0.1
EXAMPLES = 3
EXIT_FINDING, EXIT_INTERRUPTED = 1, 130


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked for."""

    place: Place
    batch: Batch
    timeout_s: float
    is_kept: bool
    is_verbose: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class _Ended:
    """What there is to tell; `board` knows how far the requests came."""

    verdict: Verdict
    results: list[ResultSeen]
    board: Board
    seconds: float


def demo(options: Options) -> int:
    """Run a demo and return its exit code: 0 when every request has exactly one result.

    Raises SettingsInvalid, TransientError, FatalError for what it cannot be run with.
    """
    directory = Path(tempfile.mkdtemp(prefix="processor-demo-"))
    log_file = directory / "processor.log"
    is_log_kept = options.is_verbose
    try:
        with log_file.open("wb") as stream, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            configure_logging("json", "INFO", stream=stream)
            code = runner.run(_until_signal(options))
        is_log_kept |= code == EXIT_FINDING
    except (SettingsInvalid, TransientError):  # Their sentences say it all.
        raise
    except Exception as error:
        is_log_kept = True
        complain(f"the demo broke: {type(error).__name__}")
        raise
    else:
        return code
    finally:
        if is_log_kept:
            complain(f"the log of all roles: {log_file}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


async def _until_signal(options: Options) -> int:
    """Run, and on Ctrl-C or SIGTERM take everything down in order; a second signal ends the process at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "a coroutine that runs belongs to a task"

    def stop() -> None:
        complain("\nstopping …")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await _performed(options)
    except asyncio.CancelledError:
        complain("stopped before the end")
        return EXIT_INTERRUPTED


async def _performed(options: Options) -> int:
    async with staged(options.place, os.environ) as stage:
        stage.is_kept = options.is_kept
        _tell_begin(stage, options.batch)
        ended = await _run(stage, options.batch, options.timeout_s)
        _tell_end(stage, options.batch, ended, as_json=options.as_json)
        stage.is_kept = stage.is_kept or not ended.verdict.is_good
        if stage.is_kept and not stage.is_embedded:
            complain(f"what was made on your servers is kept; names begin with {stage.settings.application_id}.")
    return 0 if ended.verdict.is_good else EXIT_FINDING


async def _run(stage: Stage, batch: Batch, timeout_s: float) -> _Ended:
    """Publish, watch until every request has a result or the time is over, stop the roles, read back."""
    board = Board(len(batch.request_ids))
    is_over = threading.Event()
    tasks: list[asyncio.Task[None]] = []
    began = monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            await _ready(stage)
            began = monotonic()
            tasks.append(asyncio.create_task(asyncio.to_thread(follow, stage.settings, board, is_over)))
            tasks.append(asyncio.create_task(asyncio.to_thread(_publish, stage, batch, is_over)))
            await _watched(stage, batch, board, tasks)
    except TimeoutError:
        complain(f"not every request had its result within {timeout_s:g} s")
        for reason in (*stage.unready(), *stage.degraded()):
            complain(reason)
    finally:
        is_over.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    seconds = monotonic() - began
    await stage.stop()
    published, events, results = await asyncio.to_thread(read_back, stage.settings)
    executed = [run.workflow_id for run in stage.simulator.ledger.runs]
    return _Ended(judged(batch.request_ids, published, events, results, executed), results, board, seconds)


async def _ready(stage: Stage) -> None:
    """Wait until all roles work; raises FatalError when one breaks."""
    while stage.unready():
        _assert_whole(stage)
        await asyncio.sleep(LOOK_EVERY_S)


async def _watched(stage: Stage, batch: Batch, board: Board, tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Show how things go until every request has a result; raises what a task raised."""
    began = monotonic()
    with screen_for(len(batch.lines), board.requests) as screen:
        while not board.is_complete:
            _assert_whole(stage)
            for task in tasks:
                if task.done():
                    task.result()
            screen.show(board, monotonic() - began)
            await asyncio.sleep(LOOK_EVERY_S)
        screen.show(board, monotonic() - began)


def _assert_whole(stage: Stage) -> None:
    if stage.is_broken.is_set():
        raise FatalError("a role ended by itself")


def _publish(stage: Stage, batch: Batch, is_over: threading.Event) -> None:
    """Publish the requests as upstream would, until it is over; blocks. Raises BrokerUnavailable, PoisonError."""
    topic = stage.settings.topics.requests
    writer, publisher = (
        RequestWriter(registry_for(stage.settings.schema_registry), topic),
        publisher_for(stage.settings),
    )
    for line in batch.lines:
        if is_over.is_set():
            break
        record = {**line.record, "requestedAt": now() * MICROSECONDS} if batch.is_made_up else line.record
        publisher.publish(topic, line.key, writer.write(record))
    publisher.finish(topic)


def _tell_begin(stage: Stage, batch: Batch) -> None:
    settings = stage.settings
    kind = "made up" if batch.is_made_up else "from the file"
    repeats = f", {batch.repeats} of them published twice" if batch.repeats else ""
    complain("The whole job, once:")
    whose = "kept" if stage.is_kept else "deleted at the end"
    real = f" (topics and groups {settings.application_id}.…, {whose})"
    broker = " (librdkafka's mock cluster, in memory)" if stage.has_own_broker else real
    registry = " (embedded, in memory)" if stage.has_own_registry else ""
    complain(f"  broker      {settings.kafka.bootstrap_servers}{broker}")
    complain(f"  registry    {settings.schema_registry.url}{registry}")
    complain(
        f"  provider    {settings.api.base_url} (simulated: {FAULTS.webhook_lost_rate:.0%} of its webhooks are lost, "
        f"{FAULTS.webhook_doubled_rate:.0%} sent twice)"
    )
    complain(f"  processor   submitter, ingestor, reconciler; webhooks come to port {stage.webhook_port}")
    complain(f"  requests    {len(batch.request_ids)} {kind}{repeats}")
    complain("joining the consumer groups; a group waits 3 s for more members …")


def _tell_end(stage: Stage, batch: Batch, ended: _Ended, *, as_json: bool) -> None:
    broker = stage.settings.kafka.bootstrap_servers
    if as_json:
        say_json(verdict_json(ended.verdict, broker, ended.seconds))
    else:
        say("")
        say_verdict(ended.verdict, stage.simulator.counters.webhooks)
    if not ended.verdict.is_good:
        complain_about(ended.verdict, ended.board)
    elif not as_json:
        say_events(examples(ended.results, EXAMPLES), is_made_up=batch.is_made_up)
        say(f"\n{_next_step(stage)}")


def _next_step(stage: Stage) -> str:
    if stage.has_own_broker:
        return (
            "Next: `processor demo --bootstrap-servers HOST:9092` does the same on your Kafka cluster, in topics of "
            "its own; README.md says how to point the processor at your cluster and at the provider for good."
        )
    return (
        "Next: set PROCESSOR_KAFKA__BOOTSTRAP_SERVERS, PROCESSOR_SCHEMA_REGISTRY__URL and PROCESSOR_API__BASE_URL; "
        "`processor check` then says what is still missing, and `processor run` does it for good."
    )
