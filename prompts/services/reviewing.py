"""Asking for a review, giving one, and what keeps a version off a channel."""

from django.core.exceptions import ValidationError
from django.db import transaction

from prompts.models import Approval, Channel, PromptVersion, ReviewRequest, SuiteResult
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


def newest_results(version: PromptVersion) -> dict[str, SuiteResult]:
    """How the newest run of each suite ended for the version, by the suite's name."""
    return {result.suite: result for result in version.suite_results.order_by("id")}


@transaction.atomic
def record_result(*, version: PromptVersion, suite: str, verdict: str, run: str = "", told: str = "") -> SuiteResult:
    """Keep how a suite ended for a version: "passed", "failed", or "outdated" once the suite has changed.

    Whoever runs suites says it here, because a channel may require one. Raises ValidationError.
    """
    result = SuiteResult(version=version, suite=suite, digest=version.digest, verdict=verdict, run=run, told=told[:300])
    result.full_clean()
    result.save()
    return result


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
    return wrong + lacking_suites(version, rules)


def lacking_suites(version: PromptVersion, rules: Channel) -> list[str]:
    """A sentence for each suite that the channel requires and whose newest run has not passed for the version."""
    results = newest_results(version)
    lacking = []
    for name in rules.required_suites:
        result = results.get(name)
        if result is not None and result.verdict == "passed" and result.digest == version.digest:
            continue
        if result is None:
            why = f"it has not been run for {version}"
        elif result.verdict == "outdated":
            why = "the suite was changed since it passed"
        else:
            why = f"its newest run failed{': ' + result.told.rstrip('.') if result.told else ''}"
        lacking.append(f"{rules.name} requires the suite {name} to pass for {version}, and {why}.")
    return lacking
