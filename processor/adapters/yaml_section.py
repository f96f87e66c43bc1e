"""A mapping of a YAML file, read key by key, that remembers the line of each value and collects all problems.

A value that is wrong reads as absent: the caller goes on, so that one reading tells everything that must be mended.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from processor.errors import SettingsInvalid

FILE_BYTES_MAX = 1024 * 1024
_SHOWN_MAX = 60
_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"true", "yes", "on"})
_DURATION = re.compile(r"^(\d{1,9})(ms|s|m|h|d)$")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(slots=True)
class Problems:
    """What is wrong in one file, in the order in which it was found."""

    file: str
    found: list[str] = field(default_factory=list)

    def add(self, node: yaml.Node, where: str, text: str) -> None:
        """Note a problem at a value: its line, its dotted name, what is wrong and what to do."""
        name = f"{where}: " if where else ""
        problem = f"{self.file}:{node.start_mark.line + 1}: {name}{text}"
        if problem not in self.found:  # A section may be read twice.
            self.found.append(problem)

    def refuse(self) -> None:
        """Raise SettingsInvalid when anything is wrong."""
        if self.found:
            raise SettingsInvalid("\n".join(self.found))


def compose(path: Path) -> yaml.Node:
    """Return the tree of a YAML file, lines included; raises SettingsInvalid that names file, line and remedy."""
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsInvalid(f"{path}: cannot be read ({error.strerror}); mount the file there") from error
    if len(data) > FILE_BYTES_MAX:
        raise SettingsInvalid(f"{path}: larger than {FILE_BYTES_MAX} bytes; split it between installations")
    try:
        root = yaml.compose(data.decode(), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsInvalid(f"{path}:{line}: no valid YAML ({error.problem}); mend it there") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: no text that YAML may hold; write it in UTF-8") from error
    except RecursionError as error:
        raise SettingsInvalid(f"{path}: nested too deeply; a catalogue has five levels") from error
    if root is None:
        raise SettingsInvalid(f"{path}: empty; write `version: 1` and `workflows:`")
    return root


class Section:
    """One mapping; `where` is its dotted name in the file."""

    __slots__ = ("_nodes", "_problems", "node", "where")

    def __init__(self, node: yaml.Node, where: str, problems: Problems, known: Iterable[str] | None) -> None:
        self.node = node
        self.where = where
        self._problems = problems
        self._nodes: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            problems.add(node, where, "this must be a mapping; write `name: value` lines below it")
            return
        self._collect(node, None if known is None else list(known))

    def names(self) -> Sequence[str]:
        """Return the keys that are there."""
        return tuple(self._nodes)

    def has(self, key: str) -> bool:
        """Whether the key is there with a value."""
        node = self._nodes.get(key)
        return node is not None and node.tag != f"{_TAG}null"

    def problem(self, key: str, text: str) -> None:
        """Note a problem at a key, or at the section itself where the key is absent."""
        self._problems.add(self._nodes.get(key, self.node), self._name(key), text)

    def text(self, key: str) -> str | None:
        """Return a text, None where it is absent or no text."""
        return self._scalar(self._nodes[key], self._name(key)) if self.has(key) else None

    def word(self, key: str, words: Sequence[str]) -> str | None:
        """Return one of `words`, None where it is absent or another."""
        word = self.text(key)
        if word is not None and word not in words:
            self.problem(key, f"{_shown(word)} is none of {', '.join(words)}; {_nearest(word, words)}")
            return None
        return word

    def flag(self, key: str) -> bool | None:
        """Return true or false, None where the key is absent or neither."""
        if not self.has(key):
            return None
        node = self._nodes[key]
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}bool":
            self.problem(key, "this is either true or false; write one of them, without quotes")
            return None
        return str(node.value).lower() in _TRUE

    def duration_ms(self, key: str) -> int | None:
        """Return a positive duration such as 15m or 7d, in milliseconds."""
        text = self.text(key)
        if text is None:
            return None
        match = _DURATION.match(text)
        if not match or not int(match[1]):
            self.problem(key, f"{_shown(text)} is no duration; write a number above 0 and ms, s, m, h or d, like 15m")
            return None
        return int(match[1]) * _UNITS_MS[match[2]]

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of texts."""
        if not self.has(key):
            return None
        node = self._nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            self.problem(key, "this must be a list; write it like [one, two]")
            return None
        read = [self._scalar(item, self._name(key)) for item in node.value]
        return tuple(text for text in read if text is not None)

    def mapping(self, key: str) -> dict[str, str]:
        """Return a mapping from text to text, empty where it is absent."""
        inner = self.section(key, None)
        if inner is None:
            return {}
        return {name: text for name in inner.names() if (text := inner.text(name)) is not None}

    def section(self, key: str, known: Iterable[str] | None) -> "Section | None":
        """Return a mapping below this one, None where it is absent; `known` None allows any key."""
        return Section(self._nodes[key], self._name(key), self._problems, known) if self.has(key) else None

    def is_text(self, key: str) -> bool:
        """Whether the key holds one value, and no list or mapping."""
        return isinstance(self._nodes.get(key), yaml.ScalarNode)

    def _name(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def _collect(self, node: yaml.MappingNode, known: list[str] | None) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                self._problems.add(key, self._name(key.value), "this key stands here twice; leave one of them out")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        try:
            yaml.SafeLoader("").flatten_mapping(node)  # `<<: *anchor`: merged keys come first, so own ones win.
        except yaml.MarkedYAMLError:
            self._problems.add(node, self.where, "`<<` takes a mapping; write it like `<<: *anchor`")
            return
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problems.add(key, self.where, "a key must be a text")
            elif known is not None and key.value not in known:
                name = self._name(key.value)
                self._problems.add(key, name, f"there is no such key; {_nearest(key.value, known)}")
            else:
                self._nodes[key.value] = value

    def _scalar(self, node: yaml.Node, where: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._problems.add(node, where, "this must be one value, no list or mapping")
            return None
        if node.tag in {f"{_TAG}bool", f"{_TAG}null"}:
            self._problems.add(
                node, where, f"YAML reads {node.value or 'nothing'} as {node.tag[len(_TAG) :]}; quote it"
            )
            return None
        return str(node.value)


def _nearest(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1)
    return f"is {close[0]} meant?" if close else f"write one of {', '.join(words)}"


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_MAX])
