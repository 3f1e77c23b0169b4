"""What the path of a call reads of this app: shapes only, frozen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from prompts.rendering import VersionView

NOTHING: Mapping[str, Mapping[str, "PromptView"]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ArmView:
    """One arm of an experiment: its version, and its share as ranges of the 10,000 places, [start, end)."""

    name: str
    version: int
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """A running experiment. `unit`: user, session or key.

    Calls without that unit, and those of which not all of `eligible` holds (a field and its test each), are served the
    first arm, unmarked.
    """

    name: str
    unit: str
    salt: str
    arms: tuple[ArmView, ...]
    eligible: tuple[tuple[str, Callable[[Any], bool]], ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelView:
    """What a channel serves: a version's number, and an experiment while one runs on it."""

    version: int
    experiment: ExperimentView | None = None


@dataclass(frozen=True, slots=True)
class PromptView:
    """A prompt with all its versions by number."""

    name: str
    versions: Mapping[int, VersionView]
    channels: Mapping[str, ChannelView]


@dataclass(frozen=True, slots=True)
class PromptsSnapshot:
    """Prompts by workspace id and name."""

    prompts: Mapping[str, Mapping[str, PromptView]] = field(default_factory=lambda: NOTHING)
