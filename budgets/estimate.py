"""The most that a call can use, before it is sent.

Input: gateway.core.bounds measures the body. Pictures count by the model's largest; sound by its length; what has no
bound of its own (files, hosted tools, a conversation kept by the provider) by the model's context.

Output: what the caller allows, times the number of choices; else what the model can write at most.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from budgets.pricing import Estimate
from gateway.core.bounds import Size
from gateway.core.call import Target

DEFAULT_OUTPUT_TOKENS = 4096  # for a model whose maximum nobody told us: what every current model accepts
IMAGE_TOKENS = 12_000
IMAGE_TOKENS_OF = {"gpt-4o-mini": 48_169}  # 2,833 + 8 tiles of 5,667: it counts pictures 33 times as its siblings do

# The most that well-known models write in one answer, by the beginning of their name, where the configuration
# says nothing. Longest beginning first.
MODEL_OUTPUT_TOKENS = (
    ("claude-3-5", 8192),
    ("claude-3-7", 64_000),
    ("claude-3", 4096),
    ("claude-opus-4-1", 32_000),
    ("claude-opus-4-2", 32_000),
    ("claude-opus-4-5", 64_000),
    ("claude-haiku-4", 64_000),
    ("claude-sonnet-4", 64_000),
    ("gpt-4.1", 32_768),
    ("gpt-4o", 16_384),
    ("gpt-5", 128_000),
    ("gemini-2.0", 8192),
    ("gemini-2.5", 65_535),
    ("o1", 100_000),
    ("o3", 100_000),
    ("o4", 100_000),
)
REASONING = ("o1", "o3", "o4", "gpt-5", "gemini-2.5", "gemini-3", "deepseek-r", "deepseek-reasoner", "magistral")

FLAT_OUTPUT = {  # forms whose answers are no text: tokens for each choice
    "embeddings": 0,
    "rerank": 0,
    "moderations": 0,
    "images": 16_384,
    "speech": 65_536,
    "transcriptions": 16_384,
    "translations": 16_384,
}


def estimate(
    size: Size, body: Mapping[str, Any], form: str, target: Target, output: int | None, count: int
) -> Estimate | None:
    """The most that this body can use at this target, with `output` for all its choices.

    `output` and `count`: the output that it asks for one choice (bounds.asked_output) and its choices (bounds.choices).
    None when nothing bounds the input: there is a file or a hosted tool in it and the model's context is not known.
    """
    context = target.context_tokens
    if size.unbounded:
        if context is None:
            return None
        tokens = context * (1 + size.tool_uses)
    else:
        tokens = size.input + size.images * IMAGE_TOKENS_OF.get(target.upstream, IMAGE_TOKENS)
        if context is not None and tokens > context:
            tokens = context
    uses = size.tool_uses
    if form == "rerank":
        documents = body.get("documents")
        uses = max(1, -(-len(documents) // 100)) if isinstance(documents, list) else 1
    tier = body.get("service_tier")
    return Estimate(
        input=tokens,
        output=most_output(output, form, target) * count,
        audio=size.has_audio,
        image=bool(size.images) or form == "images",
        cache_write=size.cache_write,
        tool_uses=uses,
        service_tier=tier if isinstance(tier, str) else "",
    )


def most_output(asked: int | None, form: str, target: Target) -> int:
    """The most tokens of one choice: what the caller asks (bounds.asked_output), within what the model can."""
    if (flat := FLAT_OUTPUT.get(form)) is not None:
        return flat
    can = model_output(target)
    return can if asked is None else min(asked, can) if target.max_output_tokens is not None else asked


def model_output(target: Target) -> int:
    """The most tokens that the model writes in one answer, as configured, as known or guessed."""
    return known_output(target.upstream) if target.max_output_tokens is None else target.max_output_tokens


@lru_cache(maxsize=1024)
def known_output(upstream: str) -> int:
    """What a model of this name writes at most, or a careful guess."""
    name = bare(upstream)
    for beginning, tokens in MODEL_OUTPUT_TOKENS:
        if name.startswith(beginning):
            return tokens
    return DEFAULT_OUTPUT_TOKENS


def reasons(target: Target) -> bool:
    """Whether the model may write tokens that nobody sees, so that received text does not bound its output."""
    return bare(target.upstream).startswith(REASONING)


def bare(upstream: str) -> str:
    """A model's name without region, vendor or path: "eu.anthropic.claude-x" and "anthropic/claude-x" are claude-x."""
    name = upstream.rsplit("/", 1)[-1]
    for vendor in ("anthropic.", "openai.", "amazon.", "mistral.", "deepseek."):
        if vendor in name:
            return name.split(vendor, 1)[1]
    return name
