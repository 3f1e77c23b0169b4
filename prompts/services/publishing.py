"""Save a prompt's next version, and say what its channels serve. Everything is appended: what was served can be told."""

import secrets
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from prompts.models import Channel, Deployment, Experiment, Prompt, PromptVersion
from prompts.queries import current_deployment
from prompts.services.partials import pin_partials
from prompts.services.reviewing import approvers, obstacles
from prompts.services.telling import tell_deployed
from prompts.services.words import Words, check_words, digest_of
from prompts.shares import reallocated
from prompts.stage import is_number

GUARD = "experiment guard"  # who stops experiments by itself, as the history says it
OPEN = ("running", "paused")
OVER = "This experiment is over already."

__all__ = ["Crossed", "Words", "point_channel", "save_version"]


class Crossed(ValidationError):
    """Somebody else changed the channel meanwhile. Nothing was done."""


@transaction.atomic
def save_version(*, prompt: Prompt, words: Words, message: str = "", author: Any = None) -> PromptVersion:
    """The prompt's next version, its partials pinned. Raises ValidationError, which says what is wrong and where."""
    Prompt.objects.select_for_update().get(pk=prompt.pk)  # two at once get two numbers
    newest = prompt.versions.aggregate(newest=Max("number"))["newest"] or 0
    pinned = pin_partials(prompt, words.messages)
    check_words(words, pinned.messages)
    version = PromptVersion(
        prompt=prompt,
        number=newest + 1,
        digest=digest_of(words, pinned.pins),
        input_schema=words.input_schema,
        resolved=pinned.messages if pinned.pins else None,
        pins=pinned.pins,
        messages=words.messages,
        route=words.route,
        parameters=words.parameters,
        response_format=words.response_format,
        tools=words.tools,
        message=message,
        author=author,
    )
    version.full_clean()
    version.save()
    return version


def point_channel(
    *,
    prompt: Prompt,
    channel: str,
    version: PromptVersion | None,
    actor: str = "",
    reason: str = "",
    expected_seq: int | None = None,
) -> Deployment:
    """From now on the channel serves this version; None withdraws what it serves. Ends an experiment on the channel.

    expected_seq   the newest deployment that the caller has seen (0: none); None does not ask

    Raises Crossed where there is a newer one, and ValidationError for another prompt's version or one that the channel's
    rules don't let in.
    """
    action = "withdraw" if version is None else "promote"
    return _deploy(prompt, channel, version, Deed(action, actor, reason, expected_seq))


def roll_back(
    *, prompt: Prompt, channel: str, version: PromptVersion, actor: str, reason: str, expected_seq: int | None = None
) -> Deployment:
    """The channel serves a version that it has served before. Needs a reason and no new approval.

    Raises ValidationError for a version that it never served, and Crossed.
    """
    if not reason.strip():
        raise ValidationError({"reason": "Say why you roll back: the history keeps it."})
    if not prompt.deployments.filter(channel=channel, version=version).exists():
        raise ValidationError(f"{channel} has never served {version}; publish it instead.")
    return _deploy(prompt, channel, version, Deed("rollback", actor, reason, expected_seq))


def undo(*, prompt: Prompt, channel: str, actor: str, reason: str, expected_seq: int | None = None) -> Deployment:
    """The channel serves again what it served before its newest deployment. Raises ValidationError and Crossed."""
    newest = current_deployment(prompt, channel)
    before = undone(newest) if newest is not None else None
    if before is None:
        raise ValidationError(f"{channel} has served nothing before that could be put back.")
    return roll_back(
        prompt=prompt, channel=channel, version=before, actor=actor, reason=reason, expected_seq=expected_seq
    )


def undone(newest: Deployment) -> PromptVersion | None:
    """The version that an undo of this deployment brings back; None where there is none.

    It is the last one that the channel served before this one and that differs from it. Undoing a rollback therefore
    brings back what was rolled back.
    """
    earlier = Deployment.objects.filter(prompt=newest.prompt_id, channel=newest.channel, seq__lt=newest.seq)
    found = earlier.exclude(version=newest.version_id).exclude(version=None).select_related("version__prompt")
    last = found.order_by("-seq").first()
    return last.version if last is not None else None


@transaction.atomic
def start_experiment(*, experiment: Experiment, actor: str, reason: str = "") -> Deployment:
    """Serve the experiment's arms on its channel. The first arm is the control, and what the channel is said to serve.

    Raises ValidationError, also where a version of an arm is not let in by the channel's rules.
    """
    prompt = experiment.prompt
    versions = {row.number: row for row in prompt.versions.filter(number__in=[a["version"] for a in experiment.arms])}
    for arm in experiment.arms:
        if arm["version"] not in versions:
            raise ValidationError({"arms": f"{prompt.name} has no version {arm['version']}."})
        check_rules(prompt, experiment.channel, versions[arm["version"]])
    experiment.arms = reallocated(experiment.arms, {arm["name"]: arm["weight"] for arm in experiment.arms})
    experiment.salt = experiment.salt or secrets.token_hex(8)
    experiment.full_clean()
    experiment.save()
    control = versions[experiment.arms[0]["version"]]
    return _deploy(prompt, experiment.channel, control, Deed("experiment", actor, reason, experiment=experiment))


@transaction.atomic
def conclude_experiment(*, experiment: Experiment, winner: int | None, actor: str, reason: str) -> Deployment:
    """End an experiment and serve the winner's version; without one, the control's. Raises ValidationError."""
    if reopened(experiment) is None:
        raise ValidationError(OVER)
    number = experiment.arms[0]["version"] if winner is None else winner
    version = experiment.prompt.versions.filter(number=number).first()
    if version is None or number not in [arm["version"] for arm in experiment.arms]:
        raise ValidationError({"winner": f"{experiment.name} has no arm with version {number}."})
    deed = Deed("promote", actor, reason or f"{experiment.name} is over", outcome="concluded")
    return _deploy(experiment.prompt, experiment.channel, version, deed)


@transaction.atomic
def stop_experiment(*, experiment: Experiment, actor: str, reason: str) -> Deployment | None:
    """Serve everybody the control again, at once; None where the experiment is over already. Needs no approval.

    The control was served since the experiment began, so putting it back is a rollback. Raises ValidationError.
    """
    if reopened(experiment) is None:
        return None
    control = experiment.prompt.versions.get(number=experiment.arms[0]["version"])
    deed = Deed("rollback", actor, reason or f"{experiment.name} was stopped")
    return _deploy(experiment.prompt, experiment.channel, control, deed)


@transaction.atomic
def pause_experiment(*, experiment: Experiment, is_paused: bool) -> Experiment:
    """While it is paused everybody is served the control, unmarked. Raises ValidationError where it is over."""
    if reopened(experiment) is None:
        raise ValidationError(OVER)
    experiment.state = "paused" if is_paused else "running"
    experiment.save()
    return experiment


@transaction.atomic
def change_weights(*, experiment: Experiment, weights: dict[str, int]) -> Experiment:
    """Give the arms other shares, in basis points. A unit moves only where it must; see `shares.reallocated`.

    Figures begin anew: what was measured under other shares says something else. Raises ValidationError.
    """
    if reopened(experiment) is None:
        raise ValidationError(OVER)
    experiment.arms = reallocated(experiment.arms, weights)
    experiment.shared_at = timezone.now()
    experiment.full_clean()
    experiment.save()
    return experiment


def reopened(experiment: Experiment) -> Experiment | None:
    """The experiment as it stands now, its prompt locked so that nobody ends it meanwhile; None where it is over."""
    Prompt.objects.select_for_update().get(pk=experiment.prompt_id)
    experiment.refresh_from_db()
    return experiment if experiment.state in OPEN else None


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to a channel, by whom and why. `outcome`: how an experiment that this ends is said to have ended."""

    action: str
    actor: str = ""
    reason: str = ""
    expected_seq: int | None = None
    experiment: Experiment | None = None
    outcome: str = "aborted"


@transaction.atomic
def _deploy(prompt: Prompt, channel: str, version: PromptVersion | None, deed: Deed) -> Deployment:
    if version is not None and version.prompt_id != prompt.pk:
        raise ValidationError("This version belongs to another prompt.")
    if not channel or is_number(channel):
        raise ValidationError({"channel": f"{channel!r} is no name for a channel: it reads like a version."})
    Prompt.objects.select_for_update().get(pk=prompt.pk)
    now = current_deployment(prompt, channel)
    newest = now.seq if now is not None else 0
    if deed.expected_seq is not None and deed.expected_seq != newest:
        raise Crossed(f"Somebody else changed {channel} meanwhile. Look at what it serves now, then decide again.")
    check_publisher(prompt, channel, deed.actor)
    names: list[str] = []
    if version is not None and deed.action in ("promote", "experiment"):
        check_rules(prompt, channel, version)
        names = approvers(version, channel)
    end_experiments(prompt, channel, deed)
    deployment = Deployment(
        prompt=prompt,
        channel=channel,
        seq=newest + 1,
        version=version,
        action=deed.action,
        actor=deed.actor,
        reason=deed.reason,
        experiment=deed.experiment,
        approvals=names,
    )
    deployment.full_clean(exclude=[] if version else ["version"])
    try:
        with transaction.atomic():
            deployment.save()
    except IntegrityError:
        raise Crossed(f"Somebody else changed {channel} at the same moment. Nothing was done.") from None
    tell_deployed(deployment, now.version if now is not None else None)
    return deployment


def check_publisher(prompt: Prompt, channel: str, actor: str) -> None:
    """Raises ValidationError where the channel names its publishers and this person is none of them.

    What acts by itself, the guard, may always put the control back.
    """
    rules = Channel.objects.filter(workspace_id=prompt.workspace_id, name=channel).first()
    if rules is not None and rules.publishers and actor not in (*rules.publishers, GUARD):
        raise ValidationError(f"Only {', '.join(rules.publishers)} may change what {channel} serves.")


def check_rules(prompt: Prompt, channel: str, version: PromptVersion) -> None:
    """Raises ValidationError with everything that keeps the version off the channel."""
    rules = Channel.objects.filter(workspace_id=prompt.workspace_id, name=channel).first()
    if wrong := obstacles(version, channel, rules):
        raise ValidationError(wrong)


def end_experiments(prompt: Prompt, channel: str, deed: Deed) -> None:
    """Whatever else is put on a channel ends the experiment that ran there, in the same transaction."""
    for row in prompt.experiments.filter(channel=channel, state__in=OPEN):
        if deed.experiment is not None and row.pk == deed.experiment.pk:
            continue
        row.state, row.ended_at, row.outcome = deed.outcome, timezone.now(), deed.reason[:300]
        row.save()
