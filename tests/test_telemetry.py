"""What is logged and measured: listed things only, and no personal data whatever anybody passes."""

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest

from processor.errors import ApiUnavailable
from processor.kafka_config import CLIENT_LOGGER
from processor.logs import (
    KAFKA_LOGGER,
    LINES_PER_WINDOW_MAX,
    TEXT_CHARACTERS_MAX,
    WINDOW_S,
    LibraryPipe,
    configure_logging,
)
from processor.telemetry import EVENT_SENTENCES, LOG_EVENTS, LOG_FIELDS, Metrics

CANARY = "Zebra-Quagga-7"


class Pipe:
    """The configured logging of a process, and what came out of it."""

    def __init__(self, log_format: str = "json", level: str = "INFO") -> None:
        self.stream = io.BytesIO()
        self.drops: list[int] = []
        configure_logging(log_format, level, stream=self.stream, on_drop=self.drops.append)
        self.log = structlog.get_logger()

    def text(self) -> str:
        return self.stream.getvalue().decode()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines, parsed and without their time, which is checked instead."""
        parsed = [json.loads(line) for line in self.text().splitlines()]
        for line in parsed:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
        return parsed


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Leave the process's logging to the next test as it was."""
    root = logging.getLogger()
    CLIENT_LOGGER.propagate = True  # Commands that ran before silence it for the whole process.
    kept = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    root.handlers[:], root.level = kept[0], kept[1]
    sys.excepthook, threading.excepthook, sys.unraisablehook = kept[2:]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_one_thing_that_happened_is_one_line_of_json() -> None:
    """Time in UTC, level, event, and the fields that were given; words of closed lists as their text."""

    class Proof(StrEnum):
        DONE = "DONE"

    pipe = Pipe()
    pipe.log.info("partition.assigned", decider="launch", partitions=(1, 2), proof=Proof.DONE, seconds=0.5)
    assert pipe.lines() == [
        {
            "level": "info",
            "event": "partition.assigned",
            "decider": "launch",
            "partitions": [1, 2],
            "proof": "DONE",
            "seconds": 0.5,
        }
    ]


def test_fields_bound_to_the_context_are_on_every_line() -> None:
    """A role says once who it is."""
    pipe = Pipe()
    with structlog.contextvars.bound_contextvars(role="submitter", subject=CANARY):
        pipe.log.info("process.ready")
    assert pipe.lines() == [{"level": "info", "event": "process.ready", "role": "submitter", "fields_dropped": 1}]


def test_the_level_decides_what_is_logged() -> None:
    """Below the least level nothing is written."""
    pipe = Pipe(level="WARNING")
    pipe.log.info("process.ready")
    pipe.log.warning("process.draining")
    assert [line["event"] for line in pipe.lines()] == ["process.draining"]


def test_what_nobody_listed_is_dropped_and_counted() -> None:
    """Fields, values that are no plain ones, and events: a name may hold personal data as well as a value."""
    pipe = Pipe()
    pipe.log.info("request.accepted", request_id="r-1", last_name=CANARY, columns={"a": CANARY})
    pipe.log.info("request.accepted", request_id={"name": CANARY}, why=[{"name": CANARY}], reason=CANARY.encode())
    pipe.log.info(CANARY, request_id="r-3")
    assert pipe.lines() == [
        {"level": "info", "event": "request.accepted", "request_id": "r-1", "fields_dropped": 2},
        {"level": "info", "event": "request.accepted", "fields_dropped": 3},
        {"level": "info", "event": "log.unlisted", "request_id": "r-3", "fields_dropped": 1},
    ]
    assert pipe.drops == [2, 3, 1]


def test_values_are_bounded() -> None:
    """A line stays a line, whatever a provider puts into a status."""
    pipe = Pipe()
    pipe.log.info("status.unlisted", status="x" * 10_000, partitions=list(range(1000)), count=2**70, why="\udc80")
    (line,) = pipe.lines()
    assert len(line["status"]) == TEXT_CHARACTERS_MAX
    assert len(line["partitions"]) == 100
    assert (line["count"], line["why"]) == (2**70, "\udc80")


def _fail_in_two_steps() -> None:
    try:
        int(CANARY)
    except ValueError as error:
        raise ValueError(CANARY) from error


def test_an_exception_shows_class_place_and_causes_but_no_message() -> None:
    """Messages of libraries hold what they choked on: rows, bodies, addresses."""
    pipe = Pipe()
    try:
        _fail_in_two_steps()
    except ValueError:
        pipe.log.exception("key.parked", fact="Prepared")
    (line,) = pipe.lines()
    assert re.fullmatch(r"tests\.test_telemetry:\d+ _fail_in_two_steps", line.pop("error_at"))
    assert line == {
        "level": "error",
        "event": "key.parked",
        "fact": "Prepared",
        "error_type": "ValueError",
        "error_causes": ["ValueError"],
    }


def test_an_error_of_ours_shows_its_message() -> None:
    """Errors of ours promise to hold none of it, and their text says what to do."""
    pipe = Pipe()
    pipe.log.warning("call.failed", exc_info=ApiUnavailable("authorize answered 502"))
    (line,) = pipe.lines()
    assert (line["error_type"], line["error_message"]) == ("ApiUnavailable", "authorize answered 502")


def test_lines_of_libraries_show_name_and_place_only() -> None:
    """Their texts hold URLs, bodies and exceptions; librdkafka's speak of brokers, so they pass."""
    pipe = Pipe()
    logging.getLogger("asyncio").error("Task failed: %s", CANARY)
    logging.getLogger("httpx").info("GET https://api.example.test/%s", CANARY)
    logging.getLogger(KAFKA_LOGGER).warning("%s broker down", "kafka-0:9092")
    logging.getLogger(KAFKA_LOGGER).warning("%d", "not a number")
    first, second, third = pipe.lines()
    assert (first["event"], first["logger"]) == ("library.message", "asyncio")
    assert re.fullmatch(r"test_telemetry:\d+ test_lines_of_libraries\w+", first["at"])
    assert second["text"] == "kafka-0:9092 broker down"
    assert third["text"] == "%d"
    assert CANARY not in pipe.text()


def test_a_library_that_repeats_itself_is_cut_short_and_counted() -> None:
    """While a broker is away librdkafka says so many times a second; other levels and loggers are not affected."""
    pipe = Pipe()
    now_s = 0.0
    library = logging.getLogger(KAFKA_LOGGER)
    logging.getLogger().handlers[:] = [LibraryPipe(lambda: now_s)]
    for _ in range(1000):
        library.error("connection refused")
    library.warning("other level")
    now_s = WINDOW_S
    library.error("connection refused")
    library.error("connection refused")
    told = [(line["level"], line.get("suppressed")) for line in pipe.lines()]
    first = [("error", None)] * LINES_PER_WINDOW_MAX
    assert told == [*first, ("warning", None), ("error", 1000 - LINES_PER_WINDOW_MAX), ("error", None)]


def test_an_exception_that_nobody_handled_goes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """In a thread, in a destructor and at the end of the program: never as a bare traceback."""
    pipe = Pipe()

    def fail() -> None:
        raise ValueError(CANARY)

    class Unraisable:
        def __del__(self) -> None:
            raise ValueError(CANARY)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Unraisable().__del__  # noqa: B018  # the object dies here
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [(line["event"], line["error_type"]) for line in pipe.lines()] == [("process.crashed", "ValueError")] * 3
    assert CANARY not in pipe.text() + capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_canaries_never_appear(log_format: str) -> None:
    """Every way that people log by mistake, in both formats: nothing of a person comes out."""
    pipe = Pipe(log_format, "DEBUG")
    person = {"lastName": CANARY, "email": f"{CANARY}@example.test"}
    for name in ("name", "body", "key", "result", "link", "token", "headers", "error", "exception", "message", CANARY):
        pipe.log.info("request.accepted", **{name: CANARY})
    pipe.log.info("request.accepted", workflow=person, request_id=list(person.items()))
    pipe.log.info("request.accepted %s", CANARY)
    pipe.log.bind(subject=person).warning("webhook.refused", exc_info=ValueError(CANARY), stack_info=True)
    pipe.log.info(person)
    logging.getLogger("aiohttp.server").error("Error handling %s", person, exc_info=ValueError(CANARY))
    logging.getLogger("py.warnings").warning(CANARY)
    logging.getLogger().critical(CANARY)
    assert len(pipe.text().splitlines()) == 18
    assert CANARY not in pipe.text()
    assert sum(pipe.drops) > 10


def test_every_event_has_a_sentence_and_every_name_its_form() -> None:
    """Names are `noun.what_happened`, sentences are sentences."""
    assert set(EVENT_SENTENCES) == LOG_EVENTS
    assert [name for name in LOG_EVENTS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)] == []
    assert [name for name, sentence in EVENT_SENTENCES.items() if not sentence.endswith(".")] == []
    assert {name for name in LOG_FIELDS if not re.fullmatch(r"[a-z_]+", name)} == set()


def test_every_metric_has_our_prefix_and_a_sentence() -> None:
    """Names follow Prometheus: base units, `_total` for counters; help is a sentence."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    families = list(registry.collect())
    assert len(families) > 30
    assert [family.name for family in families if not re.fullmatch(r"onboarding_[a-z_]+", family.name)] == []
    assert [family.name for family in families if not family.documentation.endswith(".")] == []
    metrics.engine.transactions.labels("launch", "committed").inc()
    metrics.process.build.labels("0.1.0", "abc").set(1)
    text = generate_latest(registry).decode()
    assert 'onboarding_transactions_total{decider="launch",outcome="committed"} 1.0' in text
    assert 'onboarding_build_info{revision="abc",version="0.1.0"} 1.0' in text
    assert "_created" not in text, "a series of times beside each counter doubles what is scraped"
