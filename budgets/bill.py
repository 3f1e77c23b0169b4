"""Who pays how much: what an attempt is charged, given how it ended and what its provider reported.

usage reported, the answer came to its end        as reported                                exact
the same, but it can't be true                    what was received, bounded                 flagged
the end came without usage                        the input's bound and what was received    estimated
the client left, or the stream broke off          the input, what was received, a slack;
                                                  everything where tokens may be hidden      in_doubt
sent, and no answer came                          everything that was reserved               in_doubt
refused with a status                             nothing                                    assumed_zero
never sent                                        nothing                                    exact
"""

from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from budgets.estimate import FLAT_OUTPUT, reasons
from budgets.plan import Plan
from gateway.core.call import Attempt, Call, Usage

SLACK_TOKENS = 256  # generated upstream before the provider noticed that nobody listens
NOT_READ = frozenset(
    {"max_tokens", "max_completion_tokens", "max_output_tokens", "stream", "stream_options", "user", "metadata", "n"}
    | {"temperature", "top_p", "seed", "stop", "service_tier", "store", "safety_identifier", "prompt_cache_key"}
)
NOTHING = Usage()
CLASSES = (
    *("input", "cached", "cache_write", "cache_write_long", "input_audio", "input_image"),
    *("output", "reasoning", "output_audio", "output_image", "tool_uses"),
)
counts = attrgetter(*CLASSES)


def judge(attempt: Attempt | None, call: Call | None, plan: Plan, output: int) -> tuple[Usage, str]:
    """The usage that an attempt is charged for, and how sure that is.

    call    the call where this attempt is its last, so that what was received came from it
    output  tokens that were reserved
    """
    if attempt is None or not attempt.sent:
        return Usage(), "exact"
    reported = attempt.usage
    said = 0
    ended = attempt.outcome == "answered"
    if call is not None:
        if not (reported.input or reported.output):
            reported = call.usage
        said, ended = call.said, ended or call.finish is not None
    if reported.input or reported.output or reported.tool_uses:
        if ended:
            return checked(reported, said, plan, output)
        return partial(reported, said, plan, output), "in_doubt"
    if ended:
        return counted(said, plan, output), "estimated"
    if attempt.status is not None and attempt.status >= 400:
        return Usage(), "assumed_zero"
    if attempt.status is None:
        return everything(plan, output), "in_doubt"
    return partial(NOTHING, said, plan, output), "in_doubt"


def checked(usage: Usage, said: int, plan: Plan, output: int) -> tuple[Usage, str]:
    """A complete report, corrected where it can't be true: negative, nothing for something, or beyond all bounds."""
    negative = min(counts(usage)) < 0
    text = plan.form not in FLAT_OUTPUT
    silent = text and usage.output == 0 and said > 0
    # Embeddings of nothing aside, every call reads something; a report without its input left it out.
    mute = usage.input <= 0 and plan.input > 0
    absurd = text and output > 0 and usage.output > 2 * max(output, said)
    if not (negative or silent or mute or absurd):
        return usage, "exact"
    if negative:
        return counted(said, plan, output), "flagged"
    fixed = replace(usage, estimated=True)
    if silent:
        fixed.output = min(max(said, 1), max(output, 1))
    if absurd:
        fixed.output = max(output, said)
        fixed.reasoning = min(fixed.reasoning, fixed.output)
    if mute:
        fixed.input = plan.input
    return fixed, "flagged"


def counted(said: int, plan: Plan, output: int) -> Usage:
    """Counted here: a character is at most a token, and what was reserved bounds it all."""
    return Usage(input=plan.input, output=min(said, output) if output else 0, estimated=True)


def partial(reported: Usage, said: int, plan: Plan, output: int) -> Usage:
    """What a broken-off answer may have cost: hanging up early must not be a way to read for free."""
    hidden = reasons(plan.target)
    written = output if hidden else min(output, max(reported.output, said) + SLACK_TOKENS)
    usage = replace(reported, estimated=True)
    usage.input = reported.input if reported.input > 0 else plan.input
    usage.output = max(written, reported.output)
    return usage


def everything(plan: Plan, output: int) -> Usage:
    return Usage(input=plan.input, output=output, tool_uses=plan.tool_uses, estimated=True)


def classes(usage: Usage) -> dict[str, Any]:
    """The token classes that are not zero, and the service tier where one was billed: all that a price depends on."""
    found: dict[str, Any] = {name: count for name, count in zip(CLASSES, counts(usage), strict=True) if count}
    if usage.service_tier:
        found["service_tier"] = usage.service_tier
    return found
