"""Asking for a review, giving one, and what keeps a version off a channel."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from prompts.models import Approval, Channel, PromptVersion, ReviewRequest
from prompts.services.telling import shown, tell


@transaction.atomic
def ask_for_review(*, version: PromptVersion, channel: str, asked_by: str, note: str = "") -> ReviewRequest:
    """Asked twice for the same, the first request stands."""
    request, is_new = ReviewRequest.objects.get_or_create(
        version=version, channel=channel, defaults={"asked_by": asked_by, "note": note}
    )
    if is_new:
        told = {"channel": channel, **(shown(version) or {}), "actor": asked_by, "reason": note}
        tell(version.prompt, "prompt.review_asked", **told)
    return request


@transaction.atomic
def give_review(*, version: PromptVersion, channel: str, reviewer: str, decision: str, comment: str = "") -> Approval:
    """Approve a version for a channel ("approve"), or ask for changes ("change"), with a comment.

    Raises ValidationError where the author may not approve, or changes are asked for without saying which.
    """
    if decision == "change" and not comment.strip():
        raise ValidationError({"comment": "Say what should change."})
    rules = rules_of(version, channel)
    if rules is not None and rules.reviewers and reviewer not in rules.reviewers:
        raise ValidationError(f"Only {', '.join(rules.reviewers)} may review for {channel}.")
    approval = Approval(
        version=version,
        channel=channel,
        digest=version.digest,
        reviewer=reviewer,
        author=version.author.get_username() if version.author else "",
        is_own_allowed=rules.allow_self_approval if rules else True,
        decision=decision,
        comment=comment,
    )
    approval.full_clean()
    approval.save()
    told = {"channel": channel, **(shown(version) or {}), "actor": reviewer, "decision": decision, "reason": comment}
    tell(version.prompt, "prompt.reviewed", **told)
    return approval


def rules_of(version: PromptVersion, channel: str) -> Channel | None:
    return Channel.objects.filter(workspace_id=version.prompt.workspace_id, name=channel).first()


def newest_words(version: PromptVersion, channel: str) -> dict[str, Approval]:
    """What each reviewer said last."""
    words: dict[str, Approval] = {}
    for approval in Approval.objects.filter(version=version, channel=channel).order_by("id"):
        words[approval.reviewer] = approval
    return words


def approvers(version: PromptVersion, channel: str) -> list[str]:
    """Who approved this version, in these words, for this channel, and has not taken it back."""
    said = newest_words(version, channel).values()
    return sorted(each.reviewer for each in said if each.decision == "approve" and each.digest == version.digest)


def obstacles(version: PromptVersion, channel: str, rules: Channel | None) -> list[str]:
    """Everything that keeps the version off the channel, in words; nothing where it may be served."""
    if rules is None or not rules.is_protected:
        return []
    author = version.author.get_username() if version.author else None
    counted = [name for name in approvers(version, channel) if rules.allow_self_approval or name != author]
    wrong = []
    if (lacking := rules.required_approvals - len(counted)) > 0:
        wrong.append(
            f"{channel} is protected: {version} needs {lacking} more approval{'s' if lacking > 1 else ''} "
            "by somebody other than its author."
        )
    said = newest_words(version, channel).values()
    if against := sorted(each.reviewer for each in said if each.decision == "change"):
        wrong.append(f"{', '.join(against)} asked for changes to {version}.")
    wrong += [f"The suite {name} must pass for {version} first; no run of it is known." for name in suites(rules)]
    return wrong


def suites(rules: Channel) -> list[Any]:
    """The suites that must pass. Which have passed is known once runs of suites are kept; until then, none has."""
    return list(rules.required_suites)
