"""A YAML file as a tree of nodes that know their line, column and path, so that every error can name its place.

YAML as configuration wants it: `true` and `false` are the only booleans (`off` stays a word), dates stay text,
tags are refused, a key stands once, aliases may not multiply the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 60

_PREFIX = "tag:yaml.org,2002:"
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong. Lines and columns count from 1; 0 means that the file as a whole is meant."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place} {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class DocumentError(Exception):
    """The file can't be used; `problems` holds every reason that was found, in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Node:
    """One value of the file.

    value  None, bool, int, float, str, list[Node], or dict[str, Node]
    keys   for a mapping: where each key stands
    """

    value: Any
    line: int
    column: int
    path: str
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def plain(self) -> Any:
        """The value without places, as JSON would have it."""
        if isinstance(self.value, list):
            return [item.plain for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain for key, item in self.value.items()}
        return self.value


class Problems:
    """Collects what is wrong in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, node: Node, message: str, *, key: str | None = None) -> None:
        """Note a problem at a node or, with `key`, where that key of the mapping stands."""
        line, column, path = node.line, node.column, node.path
        if key is not None:
            line, column = node.keys.get(key, (line, column))
            path = f"{path}.{key}" if path else key
        self.at(line, column, path, message)

    def at(self, line: int, column: int, path: str, message: str) -> None:
        problem = Problem(self.file, line, column, path, message)
        if problem not in self.found:
            self.found.append(problem)

    def raise_if_any(self) -> None:
        if self.found:
            raise DocumentError(self.found)


class Words(yaml.SafeLoader):
    """PyYAML's safe composer with YAML 1.2's plain words instead of 1.1's (`off`, `no`, 12:30 and dates stay text)."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def _resolvers() -> Iterator[tuple[str, str, str]]:
    yield "null", r"^(?:~|null|Null|NULL|)$", "~nN\0"
    yield "bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"
    yield "int", r"^[-+]?[0-9][0-9_]*$", "-+0123456789"
    yield "float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"
    yield "merge", r"^<<$", "<"


for _name, _pattern, _first in _resolvers():
    Words.add_implicit_resolver(_PREFIX + _name, re.compile(_pattern), ["" if c == "\0" else c for c in _first])


class _Reader:
    """Turns PyYAML's nodes into ours, noting every problem on the way."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.nodes = 0
        self.open: set[int] = set()

    def read(self, raw: yaml.Node, path: str, depth: int = 0) -> Node:
        node = Node(None, raw.start_mark.line + 1, raw.start_mark.column + 1, path)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.problems.add(node, f"the file holds more than {MAX_NODES} values, aliases counted each time")
            self.problems.raise_if_any()
        if depth > MAX_DEPTH or id(raw) in self.open:
            self.problems.add(node, "an alias contains itself" if id(raw) in self.open else _TOO_DEEP)
            return node
        self.open.add(id(raw))
        if isinstance(raw, yaml.ScalarNode):
            node.value = self._scalar(raw, node)
        elif isinstance(raw, yaml.SequenceNode):
            self._tag(raw, node, "seq")
            node.value = [self.read(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(raw.value)]
        elif isinstance(raw, yaml.MappingNode):
            self._tag(raw, node, "map")
            self._mapping(raw, node, depth)
        self.open.discard(id(raw))
        return node

    def _tag(self, raw: yaml.Node, node: Node, *names: str) -> None:
        if raw.tag not in {_PREFIX + name for name in names}:
            self.problems.add(node, f"the tag {raw.tag} is not allowed; write plain values only")

    def _scalar(self, raw: yaml.ScalarNode, node: Node) -> Any:
        match raw.tag.removeprefix(_PREFIX):
            case "null":
                return None
            case "bool":
                return raw.value.lower() == "true"
            case "int" if len(raw.value) <= 30 and re.fullmatch(r"[-+]?[0-9_]+", raw.value):
                return int(raw.value.replace("_", ""))
            case "float" if len(raw.value) <= 60 and re.fullmatch(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", raw.value):
                return float(raw.value)
            case "str" | "merge":
                if re.search("[\0\ud800-\udfff]", raw.value):
                    self.problems.add(
                        node, "holds a character that no database can keep (NUL or half a surrogate pair)"
                    )
                return raw.value
        if raw.tag in {_PREFIX + "int", _PREFIX + "float"}:
            self.problems.add(node, f"{raw.value[:40]!r} is not a number that can be used")
        else:
            self._tag(raw, node, "str")
        return raw.value

    def _mapping(self, raw: yaml.MappingNode, node: Node, depth: int) -> None:
        merged: dict[str, Node] = {}
        values: dict[str, Node] = {}
        for raw_key, raw_value in raw.value:
            line, column = raw_key.start_mark.line + 1, raw_key.start_mark.column + 1
            if not isinstance(raw_key, yaml.ScalarNode):
                self.problems.at(line, column, node.path, "a key must be a word")
                continue
            if raw_key.tag == _PREFIX + "merge":
                merged |= self._merged(raw_value, node, depth)
                continue
            key = raw_key.value
            path = f"{node.path}.{key}" if node.path else key
            if key in values:
                first = node.keys[key][0]
                self.problems.at(line, column, path, f"{key!r} stands twice here; the first is in line {first}")
                continue
            node.keys[key] = (line, column)
            values[key] = self.read(raw_value, path, depth + 1)
        node.value = merged | values

    def _merged(self, raw: yaml.Node, node: Node, depth: int) -> dict[str, Node]:
        """What `<<` brings in: one mapping, or a list of them of which the first wins."""
        merged: dict[str, Node] = {}
        for one in reversed(raw.value) if isinstance(raw, yaml.SequenceNode) else [raw]:
            part = self.read(one, node.path, depth + 1)
            if not isinstance(part.value, dict):
                self.problems.add(part, "`<<` takes a mapping or a list of mappings")
                continue
            merged |= part.value
            node.keys |= part.keys
        return merged


def read_document(text: str, file: str) -> tuple[Node, Problems]:
    """The file's tree, and the problems found so far (duplicate keys, tags). Raises DocumentError when it is no YAML."""
    problems = Problems(file)
    try:
        composer = Words(text)
        raw = composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        problems.at(line, column, "", f"this is not valid YAML: {error.problem or error}")
        raise DocumentError(problems.found) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.at(line, 1, "", f"the character {error.character:#06x} is not allowed in YAML")
        raise DocumentError(problems.found) from None
    except RecursionError:
        problems.at(1, 1, "", _TOO_DEEP)
        raise DocumentError(problems.found) from None
    if raw is None:
        problems.at(1, 1, "", "the file is empty; it needs at least `version: 1`")
        raise DocumentError(problems.found)
    return _Reader(problems).read(raw, ""), problems


def load_document(path: Path) -> tuple[Node, Problems]:
    """As read_document, from a file. Raises DocumentError when the file can't be read."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"the file is larger than {MAX_FILE_BYTES} bytes")
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DocumentError([Problem(str(path), 0, 0, "", f"can't be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError([Problem(str(path), line, 1, "", "the file is not UTF-8 text")]) from None
    except ValueError as error:
        raise DocumentError([Problem(str(path), 0, 0, "", str(error))]) from None
    return read_document(text, str(path))
