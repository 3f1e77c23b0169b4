"""What a field of the configuration file may hold. Each kind reads a node into a plain value, or says what is wrong.

Plain values are what JSON knows, in one canonical form: money as a decimal string, moments in UTC, so that two
configurations are equal when their plain values are.
"""

import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from gateway.core.money import dollars, nanos
from gateway.services.configuration.document import Node, Problems


class _Bad:
    """What reading gives when there is no usable value; the problem was noted."""

    def __repr__(self) -> str:
        return "BAD"


BAD: Any = _Bad()


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's text. It has no readable form, so it can't slip into a plan, a log or a traceback."""

    text: str = field(repr=False)


@dataclass(slots=True)
class Reading:
    """One reading of one file: its problems, the environment that `{env: NAME}` reads, and what else to tell."""

    problems: Problems
    environment: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    def bad(self, node: Node, message: str, *, key: str | None = None) -> Any:
        self.problems.add(node, message, key=key)
        return BAD


class Kind(Protocol):
    """One kind of value."""

    def read(self, node: Node, reading: Reading) -> Any:
        """The plain value, or BAD after the problem was noted."""
        ...


def name_of_type(value: Any) -> str:
    """How a person would call the type of what stands in the file."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
    return "a mapping"


def one_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def closest(word: str, words: Sequence[str]) -> str:
    """A hint for a mistyped word, or nothing."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def environment_name(node: Node) -> str | None:
    """NAME when the node is `{env: NAME}`."""
    if isinstance(node.value, dict) and node.value.keys() == {"env"} and isinstance(node.value["env"].value, str):
        return str(node.value["env"].value)
    return None


@dataclass(frozen=True, slots=True)
class Text:
    """Text, or `{env: NAME}`. `pattern` and `wants` belong together: what it must match, and that in words."""

    longest: int = 10_000
    shortest: int = 0
    pattern: str = ""
    wants: str = ""

    def read(self, node: Node, reading: Reading) -> Any:
        value = self.text(node, reading)
        if value is BAD:
            return BAD
        if len(value) < self.shortest:
            return reading.bad(node, "must not be empty" if self.shortest == 1 else f"needs {self.shortest} characters")
        if len(value) > self.longest:
            return reading.bad(node, f"is {len(value)} characters long; at most {self.longest} fit")
        if self.pattern and not re.fullmatch(self.pattern, value):
            return reading.bad(node, f"{value!r} won't do: {self.wants}")
        return value

    @staticmethod
    def text(node: Node, reading: Reading) -> Any:
        if (name := environment_name(node)) is not None:
            if name not in reading.environment:
                return reading.bad(node, f"the environment variable {name} is not set")
            if not reading.environment[name]:
                return reading.bad(node, f"the environment variable {name} is empty")
            return reading.environment[name]
        if not isinstance(node.value, str):
            hint = "; put it in quotes" if isinstance(node.value, (int, float)) else ""
            return reading.bad(node, f"must be text, not {name_of_type(node.value)}{hint}")
        return node.value


def Name(longest: int = 80) -> Text:
    """A name that stands in headers, records and command lines."""
    wants = "a name has no control characters, and no spaces at its ends"
    return Text(
        longest=longest, shortest=1, pattern=r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?", wants=wants
    )


@dataclass(frozen=True, slots=True)
class SecretText:
    """A secret: text or, better, `{env: NAME}`. Its text is never part of a message."""

    shortest: int = 1

    def read(self, node: Node, reading: Reading) -> Any:
        value = Text.text(node, reading)
        if value is BAD:
            return BAD
        if len(value) < self.shortest:
            return reading.bad(node, f"is too short: a secret here needs {self.shortest} characters or more")
        if value != value.strip() or "\0" in value:
            return reading.bad(node, "has spaces or line ends around it; take them away")
        return Secret(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a fixed set."""

    words: tuple[str, ...]

    def read(self, node: Node, reading: Reading) -> Any:
        if isinstance(node.value, str) and node.value in self.words:
            return node.value
        shown = node.plain if isinstance(node.value, (str, int, float)) else name_of_type(node.value)
        hint = closest(node.value, self.words) if isinstance(node.value, str) else ""
        return reading.bad(node, f"{shown!r} is none of {one_of(self.words)}{hint}")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    least: int = 0
    most: int = 2**31 - 1

    def read(self, node: Node, reading: Reading) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, int):
            return reading.bad(node, f"must be a whole number, not {name_of_type(node.value)}")
        if not self.least <= node.value <= self.most:
            return reading.bad(node, f"{node.value} is out of range: from {self.least} to {self.most}")
        return node.value


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds with at most `places` decimals. Never money."""

    least: float = 0
    most: float = 1
    places: int = 3

    def read(self, node: Node, reading: Reading) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            return reading.bad(node, f"must be a number, not {name_of_type(node.value)}")
        if not self.least <= node.value <= self.most:
            return reading.bad(node, f"{node.value} is out of range: from {self.least:g} to {self.most:g}")
        if round(node.value, self.places) != node.value:
            return reading.bad(node, f"{node.value} has more than {self.places} decimals")
        return float(node.value)


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, node: Node, reading: Reading) -> Any:
        if isinstance(node.value, bool):
            return node.value
        return reading.bad(node, f"must be true or false, not {name_of_type(node.value)}")


@dataclass(frozen=True, slots=True)
class Money:
    """US dollars as a decimal string. A YAML number is refused: it would pass through a float and lose cents."""

    least: str = "0"
    most: str = "1000000000"

    def read(self, node: Node, reading: Reading) -> Any:
        value = node.value
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
            return reading.bad(node, f'money is written in quotes, like "{value}": a bare number would lose cents')
        if not isinstance(value, str):
            return reading.bad(node, f"must be an amount of dollars in quotes, not {name_of_type(value)}")
        if not re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", value):
            return reading.bad(node, f'{value[:40]!r} is no amount of dollars; write one like "0.15", without a sign')
        if not Decimal(self.least) <= Decimal(value) <= Decimal(self.most):
            return reading.bad(node, f'"{value}" is out of range: from "{self.least}" to "{self.most}" dollars')
        return dollars(nanos(value))


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, or a moment with its time zone; canonical in UTC. Given a day, its beginning in UTC."""

    def read(self, node: Node, reading: Reading) -> Any:
        wants = "write a moment like 2027-01-31T18:00:00Z or a day like 2027-01-31"
        if not isinstance(node.value, str):
            return reading.bad(node, f"must be a moment, not {name_of_type(node.value)}; {wants}")
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", node.value):
                day = date.fromisoformat(node.value)
                return canonical_moment(datetime(day.year, day.month, day.day, tzinfo=UTC))
            moment = datetime.fromisoformat(node.value)
        except ValueError:
            return reading.bad(node, f"{node.value[:40]!r} is no moment; {wants}")
        if moment.tzinfo is None:
            return reading.bad(node, f"{node.value!r} has no time zone; {wants}")
        return canonical_moment(moment)


def canonical_moment(moment: datetime) -> str:
    """In UTC, to the second."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class TimeZone:
    def read(self, node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, str):
            return reading.bad(node, f"must be a time zone, not {name_of_type(node.value)}")
        known = zoneinfo.available_timezones()
        if node.value not in known:
            hint = closest(node.value, sorted(known))
            return reading.bad(node, f"{node.value!r} is not a time zone; write one like Africa/Johannesburg{hint}")
        return node.value


@dataclass(frozen=True, slots=True)
class Network:
    """An address or a network in its canonical form."""

    def read(self, node: Node, reading: Reading) -> Any:
        if not isinstance(node.value, str):
            return reading.bad(node, f"must be an address or network, not {name_of_type(node.value)}")
        try:
            network = ipaddress.ip_network(node.value)
        except ValueError as error:
            return reading.bad(node, f"{error}; write an address like 10.1.2.3 or a network like 10.1.0.0/16")
        return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


@dataclass(frozen=True, slots=True)
class Checked:
    """A kind with one more test: `test` returns what is wrong with the value, or nothing."""

    kind: Kind
    test: Callable[[Any], str]

    def read(self, node: Node, reading: Reading) -> Any:
        value = self.kind.read(node, reading)
        if value is not BAD and (wrong := self.test(value)):
            return reading.bad(node, wrong)
        return value


@dataclass(frozen=True, slots=True)
class Free:
    """Anything that JSON can hold, of one outer type: its inside is somebody else's format."""

    outer: type | None = dict

    def read(self, node: Node, reading: Reading) -> Any:
        if self.outer is not None and not isinstance(node.value, self.outer):
            wanted = name_of_type(self.outer())
            return reading.bad(node, f"must be {wanted}, not {name_of_type(node.value)}")
        return node.plain
