"""Rows → PromptsSnapshot: one query for the prompts, one for their versions, one for what their channels serve."""

from collections import defaultdict
from types import MappingProxyType
from typing import Any

from gateway.core.conditions import predicate
from prompts.models import Experiment, Prompt, PromptVersion
from prompts.queries import current_deployments
from prompts.rendering import VersionView, compile_version
from prompts.snapshot import ArmView, ChannelView, ExperimentView, PromptsSnapshot, PromptView


def snapshot() -> PromptsSnapshot:
    """Every prompt that is not archived, with all its versions compiled."""
    versions: dict[int, dict[int, VersionView]] = defaultdict(dict)
    for row in PromptVersion.objects.filter(prompt__archived_at=None).select_related("prompt"):
        versions[row.prompt_id][row.number] = version_view(row)
    channels = served()
    found: dict[str, dict[str, PromptView]] = defaultdict(dict)
    for prompt in Prompt.objects.filter(archived_at=None):
        found[str(prompt.workspace_id)][prompt.name] = PromptView(
            name=prompt.name,
            versions=MappingProxyType(versions[prompt.pk]),
            channels=MappingProxyType(channels[prompt.pk]),
        )
    return PromptsSnapshot(MappingProxyType({key: MappingProxyType(value) for key, value in found.items()}))


def version_view(row: PromptVersion) -> VersionView:
    return compile_version(f"{row.prompt.name}@{row.number}", row.number, words_of(row))


def words_of(row: PromptVersion) -> dict[str, Any]:
    """What a version says, as `compile_version` takes it."""
    return {
        "messages": row.resolved if row.resolved is not None else row.messages,
        "route": row.route,
        "parameters": row.parameters,
        "response_format": row.response_format,
        "tools": row.tools,
        "input_schema": row.input_schema,
        "digest": row.digest,
    }


def served() -> dict[int, dict[str, ChannelView]]:
    """What each channel serves now, by prompt: its newest deployment, unless that withdrew it."""
    found: dict[int, dict[str, ChannelView]] = defaultdict(dict)
    for row in current_deployments():
        if row.version is not None:
            found[row.prompt_id][row.channel] = ChannelView(row.version.number, experiment_view(row.experiment))
    return found


def experiment_view(row: Experiment | None) -> ExperimentView | None:
    """The experiment while it runs; a paused one serves everybody the control."""
    if row is None or row.state != "running":
        return None
    arms = tuple(
        ArmView(arm["name"], arm["version"], tuple((start, end) for start, end in arm["ranges"])) for arm in row.arms
    )
    return ExperimentView(row.name, row.unit, row.salt, arms, tuple(map(predicate, row.eligible)))
