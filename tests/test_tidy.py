"""The style as a test: which way imports point, what the core must not touch, how long things may be."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from processor.telemetry import LOG_EVENTS
from tests.support.root import ROOT

FUNCTION_LINES_MAX = 50
MODULE_LINES_MAX = 500

# What decides knows no clock, chance, network, disk, thread or log.
IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "concurrent",
        "http",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "queue",
        "random",
        "secrets",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
    }
)
IMPURE_CALLS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "open", "print", "input"})
# Each reaches one outside thing; whoever imports one of these talks to that thing.
OUTSIDE = frozenset({"aiohttp", "confluent_kafka", "httpx", "pyreqwest", "rocksdict"})
# What adapters may know of the engine: its ports, and the plain values that travel over them.
PORTS = frozenset({"processor.engine.ports", "processor.engine.entries", "processor.engine.kafka_errors"})
METRIC_TYPES = frozenset({"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"})
LOG_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})


@cache
def tree(path: Path) -> ast.Module:
    """Parse one file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """List every node of one file."""
    return tuple(ast.walk(tree(path)))


def modules() -> Iterator[tuple[str, Path]]:
    """Give the dotted name and path of every module of the program."""
    for path in sorted((ROOT / "processor").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def sources() -> list[Path]:
    """List every Python file of ours."""
    return [path for folder in ("processor", "tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imports(path: Path) -> frozenset[str]:
    """Name every module that a file imports, wherever in it; `from a import b` counts as `a.b` where that is one."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found.update(
                f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}") else module for alias in node.names
            )
    return frozenset(found)


def is_module(name: str) -> bool:
    """Say whether a dotted name is a module or package of the program."""
    base = ROOT / name.replace(".", "/")
    return name.startswith("processor.") and (base.with_suffix(".py").is_file() or base.is_dir())


def layer(name: str) -> str:
    """Return the package a module is in, else `errors`, or `leaf` for settings and the like."""
    parts = name.split(".")
    if len(parts) > 1 and (ROOT / "processor" / parts[1]).is_dir():
        return parts[1]
    return {"errors": "errors", "__main__": "cli"}.get(parts[-1], "leaf")


def is_third_party(name: str) -> bool:
    """Say whether an import is neither ours nor of the standard library."""
    top = name.split(".", maxsplit=1)[0]
    return top not in {"processor", "tests"} and top not in sys.stdlib_module_names


def outside(path: Path) -> frozenset[str]:
    """Name the outside things that a file talks to itself."""
    return frozenset(name.split(".")[0] for name in imports(path)) & OUTSIDE


def is_allowed(importer: str, imported: str) -> bool:
    """Say whether an import within the program points the right way."""
    origin, target = layer(importer), layer(imported)
    if origin in {"core", "engine", "simulator"}:
        return target == origin or (target == "errors" and origin != "simulator")
    if origin == "adapters":
        return target in {"adapters", "core", "errors", "leaf"} or imported in PORTS
    if origin == "roles":
        return target not in {"cli", "simulator"}
    return origin == "cli" or target in {"errors", "leaf"}


def test_imports_point_one_way() -> None:
    """Core and engine know errors only, adapters their ports and the core, the simulator nothing of ours."""
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for imported in sorted(imports(path))
        if imported.startswith("processor.") and not is_allowed(name, imported)
    ]
    assert wrong == []


def test_the_deciding_parts_use_the_standard_library_only() -> None:
    """Neither the core nor the engine depends on a library that somebody else can change."""
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for imported in sorted(imports(path))
        if layer(name) in {"core", "engine", "errors"} and is_third_party(imported)
    ]
    assert wrong == []


def test_an_adapter_reaches_its_own_outside_thing_only() -> None:
    """Adapters do not know each other: what one imports of another is plain, or talks to the same thing."""
    paths = dict(modules())
    wrong = [
        f"{name} reaches {', '.join(sorted(foreign))} through {imported}"
        for name, path in paths.items()
        for imported in sorted(imports(path))
        if layer(name) == layer(imported) == "adapters" and imported in paths
        if (foreign := outside(paths[imported]) - outside(path))
    ]
    assert wrong == []


def impurities(path: Path) -> Iterator[str]:
    """Give what in a file reaches for the world."""
    yield from (name for name in imports(path) if name.split(".")[0] in IMPURE_MODULES)
    for node in nodes(path):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in IMPURE_CALLS:
                yield f"{called}() in line {node.lineno}"


def test_the_core_is_pure() -> None:
    """No clock, chance, network, disk, thread or log decides anything: the same facts give the same decision."""
    assert [f"{name}: {what}" for name, path in modules() if layer(name) == "core" for what in impurities(path)] == []


Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Count the lines of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


def test_a_function_fits_on_a_screen() -> None:
    """No function has more lines than the wall, its docstring left out."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {body_lines(node)} lines"
        for path in sources()
        for node in nodes(path)
        if isinstance(node, Function) and body_lines(node) > FUNCTION_LINES_MAX
    ]
    assert wrong == []


def test_a_module_has_one_reason_to_change() -> None:
    """No file is longer than the limit."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    wrong = [f"{path.relative_to(ROOT)}: {count} lines" for path, count in lengths.items() if count > MODULE_LINES_MAX]
    assert wrong == []


def is_to_be_documented(name: str, *, in_tests: bool) -> bool:
    """Say whether a class or function needs a docstring: a test always, elsewhere what is public."""
    return name.startswith("test_") if in_tests else not name.startswith("_")


def documented(path: Path) -> Iterator[tuple[str, ast.Module | ast.ClassDef | Function]]:
    """Give what must carry a docstring: the module, its tests, and outside of tests every public class and function."""
    in_tests = "tests" in path.relative_to(ROOT).parts
    yield "the module", tree(path)
    waiting: list[ast.stmt] = [*tree(path).body]
    for node in waiting:
        if isinstance(node, ast.ClassDef | Function) and is_to_be_documented(node.name, in_tests=in_tests):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                waiting.extend(node.body)


def test_everything_public_says_what_it_is() -> None:
    """Each module, each public class and function, and each test has a docstring."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for name, node in documented(path)
        if ast.get_docstring(node) is None
    ]
    assert wrong == []


def constant(node: ast.AST) -> str:
    """Return the text of a literal, empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def logged(path: Path) -> Iterator[str]:
    """Give the name of every event that a file logs: the first argument of `log.info(...)` and its like."""
    for node in nodes(path):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOG_LEVELS:
            logger = node.func.value
            is_ours = str(getattr(logger, "id", getattr(logger, "attr", ""))).lstrip("_") in {"log", "logger"}
            if is_ours or (isinstance(logger, ast.Call) and getattr(logger.func, "attr", "") == "get_logger"):
                yield constant(node.args[0]) if node.args else ""


def test_the_log_events_used_are_those_of_the_catalogue() -> None:
    """Every event that is logged stands in `LOG_EVENTS`, as a literal, and every one there is logged somewhere."""
    used = {event for name, path in modules() if layer(name) != "simulator" for event in logged(path)}
    assert used == LOG_EVENTS


def test_metrics_are_made_in_one_place() -> None:
    """Only `telemetry` makes metrics, so that its list of them is complete."""
    wrong = [
        f"{name} makes a {alias.name}"
        for name, path in modules()
        if name != "processor.telemetry"
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module == "prometheus_client"
        for alias in node.names
        if alias.name in METRIC_TYPES
    ]
    assert wrong == []


def named_files(text: str) -> Iterator[str]:
    """Give the files that a document links to, and those that it names in code spans with a folder."""
    yield from re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    yield from re.findall(r"`((?:processor|schemas|tests|helm|bench|docs)/[\w./-]+)`", text)


@pytest.mark.parametrize("document", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=str)
def test_files_named_in_documents_exist(document: Path) -> None:
    """Whoever follows a name in a document finds the file."""
    named = set(named_files(document.read_text(encoding="utf-8")))
    assert [name for name in sorted(named) if not any((base / name).exists() for base in (document.parent, ROOT))] == []


@pytest.mark.parametrize(
    "importer,imported,allowed",
    [
        ("processor.core.launch", "processor.core.model", True),
        ("processor.core.launch", "processor.engine.ports", False),
        ("processor.core.launch", "processor.settings", False),
        ("processor.engine.member", "processor.core.model", False),
        ("processor.engine.member", "processor.errors", True),
        ("processor.adapters.kafka", "processor.engine.ports", True),
        ("processor.adapters.kafka", "processor.engine.member", False),
        ("processor.adapters.kafka", "processor.roles.submitter", False),
        ("processor.roles.submitter", "processor.cli.main", False),
        ("processor.roles.submitter", "processor.simulator.server", False),
        ("processor.cli.main", "processor.simulator.server", True),
        ("processor.simulator.api", "processor.errors", False),
        ("processor.settings", "processor.core.model", False),
    ],
)
def test_the_arrows(importer: str, imported: str, allowed: bool) -> None:  # noqa: FBT001  # a column of the table
    """The rule about imports, as a table."""
    assert is_allowed(importer, imported) is allowed


BROKEN: list[tuple[Callable[[Path], Iterator[str]], str, list[str]]] = [
    (impurities, "import time", ["time"]),
    (impurities, "from datetime import datetime\ndatetime.now()", ["now() in line 2"]),
    (logged, "log.info('role.started', request_id=1)\nself._log.error(text)", ["role.started", ""]),
]


@pytest.mark.parametrize("rule,source,found", BROKEN)
def test_a_broken_rule_is_seen(
    tmp_path: Path, rule: Callable[[Path], Iterator[str]], source: str, found: list[str]
) -> None:
    """The rules above can fail: each finds what it looks for."""
    broken = tmp_path / "broken.py"
    broken.write_text(source)
    assert list(rule(broken)) == found
