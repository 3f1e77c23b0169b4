"""Mappings and lists of the configuration file: which fields an object has, and what makes two of them the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.services.configuration.document import Node
from gateway.services.configuration.kinds import BAD, Kind, Reading, Text, closest, name_of_type


class _Needed:
    def __repr__(self) -> str:
        return "NEEDED"


NEEDED: Any = _Needed()
UNTOUCHED: Any = object()  # the default of a section: left out, it stays as it is


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object.

    default  what it is when left out; NEEDED when it can't be; UNTOUCHED, and None in the entry, for a section that then
             stays as it is. A field whose default is None may also be `null`
    help     one line for the documentation
    """

    kind: Kind
    default: Any = NEEDED
    help: str = ""


class Entry(dict[str, Any]):
    """An object that was read: every field with its plain value (BAD ones are absent), and where it stands."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def gives(self, name: str) -> bool:
        """Whether the file itself names this field."""
        return name in self.node.value

    def at(self, name: str) -> Node:
        """Where a field stands; the object's own place when it was left out."""
        found: Node = self.node.value.get(name, self.node)
        return found


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping with these fields and no others.

    check      sees the whole entry and notes what doesn't go together
    is_sparse  the entry holds what is given and no defaults, because it is stored as it stands
    is_open    sparse, and further fields are kept as they are: they are somebody else's format
    """

    what: str
    fields: Mapping[str, Field]
    check: Callable[[Entry, Reading], None] | None = None
    is_sparse: bool = False
    is_open: bool = False

    def read(self, node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, dict):
            return reading.bad(node, f"must be a mapping ({self.what}), not {name_of_type(node.value)}")
        entry = Entry(node)
        for name in node.value:
            if name not in self.fields and self.is_open:
                entry[name] = node.value[name].plain
            elif name not in self.fields:
                hint = closest(name, list(self.fields)) or f"; it may have {', '.join(self.fields)}"
                reading.bad(node, f"{self.what} has no field {name!r}{hint}", key=name)
        for name, field in self.fields.items():
            given = node.value.get(name)
            if given is None:
                if field.default is NEEDED:
                    reading.bad(node, f"{self.what} needs `{name}`")
                elif not (self.is_sparse or self.is_open):
                    entry[name] = None if field.default is UNTOUCHED else field.default
            elif given.value is None and field.default is None:
                entry[name] = None
            elif (value := field.kind.read(given, reading)) is not BAD:
                entry[name] = value
        if self.check is not None:
            self.check(entry, reading)
        return entry


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind. `same_by` names the fields that two entries must not share."""

    kind: Kind
    same_by: tuple[str, ...] = ()
    shortest: int = 0

    def read(self, node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, list):
            hint = "; for none write []" if node.value is None else ""
            return reading.bad(node, f"must be a list, not {name_of_type(node.value)}{hint}")
        if len(node.value) < self.shortest:
            return reading.bad(node, "must hold at least one entry")
        values = []
        seen: dict[Any, int] = {}
        for item in node.value:
            value = self.kind.read(item, reading)
            if value is BAD:
                continue
            same = tuple(repr(value.get(name)) for name in self.same_by) if isinstance(value, Entry) else repr(value)
            if same in seen and (self.same_by or not isinstance(value, Entry)):
                told = ", ".join(
                    f"{name} {value[name]!r}" for name in self.same_by if value.get(name) not in (None, "")
                )
                reading.bad(item, f"{told or repr(value)} stands twice; the first is in line {seen[same]}")
                continue
            seen[same] = item.line
            values.append(value)
        return values


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from names to one kind."""

    kind: Kind
    names: Text

    def read(self, node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, dict):
            return reading.bad(node, f"must be a mapping, not {name_of_type(node.value)}")
        values = {}
        for name, item in node.value.items():
            line, column = node.keys[name]
            named = self.names.read(Node(name, line, column, item.path), reading)
            value = self.kind.read(item, reading)
            if named is not BAD and value is not BAD:
                values[name] = value
        return values
