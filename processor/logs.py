"""One pipe for everything that is logged: ours, the libraries', and exceptions that nobody handled.

Only listed events and fields pass (`processor/telemetry.py`); the rest is dropped and counted. An exception shows its
class and place, and its message only when it is one of ours; of a library's line only name and place pass, save for
librdkafka, whose lines speak of brokers. So personal data stays out by construction, not by care.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import structlog

from processor.errors import ProcessorError
from processor.telemetry import LOG_EVENTS, LOG_FIELDS

LIBRARY_EVENT = "library.message"  # A line of a library, about itself.
UNLISTED_EVENT = "log.unlisted"  # An event that is not in the catalogue: its name may hold anything.
KAFKA_LOGGER = "processor.kafka"

TEXT_CHARACTERS_MAX = 300
ITEMS_MAX = 100
CAUSES_MAX = 5
WINDOW_S = 10.0
LINES_PER_WINDOW_MAX = 10

_STANDARD_FIELDS = frozenset({"event", "level", "timestamp"})
_OURS = "processor"

EventDict = MutableMapping[str, Any]


def configure_logging(
    log_format: str,
    level: str,
    *,
    stream: BinaryIO | None = None,
    on_drop: Callable[[int], object] = lambda _count: None,
) -> None:
    """Send all logs through the pipe, from now on and for the whole process; call it once.

    `log_format` is json or console, `level` a name such as INFO, `stream` standard output where absent. `on_drop` is
    told how many fields or names were kept out of a line.
    """
    least = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _name_exception,
            _Sieve(on_drop),
            _as_json if log_format == "json" else _Console(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.BytesLoggerFactory(stream or sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    _take_over_libraries(least)
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _crashed(args.exc_type, args.exc_value, args.exc_traceback)


def _take_over_libraries(least: int) -> None:
    """Let the standard library's logging end in the pipe: warnings of all, and what was asked for of librdkafka."""
    root = logging.getLogger()
    root.handlers[:] = [LibraryPipe()]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(KAFKA_LOGGER).setLevel(least)
    logging.captureWarnings(capture=True)


def _crashed(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().critical("process.crashed", exc_info=(kind, error, trace))


class LibraryPipe(logging.Handler):
    """Turns a line of a library into one of ours; without its text, which may hold anything.

    librdkafka repeats "connection refused" some twenty times a second and client while a broker is away, so of each
    logger and level only the first lines of a window pass; the next one that passes says how many did not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[tuple[str, int], LineWindow] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it."""
        window = self._windows.setdefault((record.name, record.levelno), LineWindow(self._clock()))
        suppressed = window.admit(self._clock())
        if suppressed is None:
            return
        fields: dict[str, Any] = {"logger": record.name, "at": f"{record.module}:{record.lineno} {record.funcName}"}
        if record.name == KAFKA_LOGGER:
            fields["text"] = _safe_message(record)
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        if suppressed:
            fields["suppressed"] = suppressed
        structlog.get_logger().log(record.levelno, LIBRARY_EVENT, **fields)


@dataclass(slots=True)
class LineWindow:
    """How many lines passed since `began_s` (monotonic seconds), and how many did not since the last one that did."""

    began_s: float
    passed: int = 0
    suppressed: int = 0

    def admit(self, now_s: float) -> int | None:
        """Return how many lines were suppressed before this one, None where it is suppressed itself."""
        if now_s - self.began_s >= WINDOW_S:
            self.began_s, self.passed = now_s, 0
        if self.passed >= LINES_PER_WINDOW_MAX:
            self.suppressed += 1
            return None
        self.passed += 1
        before, self.suppressed = self.suppressed, 0
        return before


def _safe_message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # A library's format that does not fit its own arguments.
        return record.msg if isinstance(record.msg, str) else ""


def _name_exception(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """Put class, place and causes of an exception in the place of the exception."""
    given = fields.pop("exc_info", None)
    error = _error_in(given)
    if error is None:
        return fields
    fields["error_type"] = type(error).__name__
    fields["error_at"] = _place(error.__traceback__)
    if causes := _causes(error):
        fields["error_causes"] = causes
    if isinstance(error, ProcessorError):  # Ours carry ids, coordinates and names of fields only.
        fields["error_message"] = str(error)
    return fields


def _error_in(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return next((item for item in given if isinstance(item, BaseException)), None)
    return sys.exc_info()[1] if given else None


def _causes(error: BaseException) -> list[str]:
    names: list[str] = []
    inner = error.__cause__ or error.__context__
    while inner is not None and len(names) < CAUSES_MAX:
        names.append(type(inner).__name__)
        inner = inner.__cause__ or inner.__context__
    return names


def _place(trace: TracebackType | None) -> str:
    """Return file, line and function of the innermost frame of ours, else of the innermost one."""
    place = ours = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        place = f"{module}:{trace.tb_lineno} {code.co_name}"
        if module.split(".", maxsplit=1)[0] == _OURS:
            ours = place
        trace = trace.tb_next
    return ours or place


class _Sieve:
    """Lets listed events and fields pass, and plain values only."""

    def __init__(self, on_drop: Callable[[int], object]) -> None:
        self._on_drop = on_drop

    def __call__(self, _logger: object, _method: str, fields: EventDict) -> EventDict:
        passed: dict[str, Any] = {"timestamp": fields["timestamp"], "level": fields["level"]}
        event = fields["event"]
        is_listed = isinstance(event, str) and (event in LOG_EVENTS or event == LIBRARY_EVENT)
        passed["event"] = event if is_listed else UNLISTED_EVENT
        dropped = 0 if is_listed else 1
        for name, value in fields.items():
            if name in _STANDARD_FIELDS:
                continue
            if name in LOG_FIELDS and _is_plain(value):
                passed[name] = _bounded(value)
            else:
                dropped += 1
        if dropped:
            passed["fields_dropped"] = dropped
            self._on_drop(dropped)
        return passed


def _is_plain(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return all(isinstance(item, str | int | float) for item in value)
    return value is None or isinstance(value, str | int | float)


def _bounded(value: Any) -> Any:  # noqa: ANN401  # any plain value
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return value[:TEXT_CHARACTERS_MAX]
    return [_bounded(item) for item in value[:ITEMS_MAX]] if isinstance(value, Sequence) else value


def _as_json(_logger: object, _method: str, fields: EventDict) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # A lone surrogate, or a number above 64 bits: the slower one can.
        return json.dumps(dict(fields)).encode()


class _Console:
    """Lines for people, coloured where the output is a terminal."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())

    def __call__(self, logger: object, method: str, fields: EventDict) -> bytes:
        return str(self._render(logger, method, fields)).encode(errors="replace")
