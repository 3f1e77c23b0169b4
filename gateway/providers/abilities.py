"""What each kind of provider can do through the gateway, as its adapter declares it, and how that was verified.

    recorded   by replaying what the provider really sent or was sent
    mock       against a server that others wrote in the provider's form (aimock)
    untested   written from the provider's reference; our own tests alone have seen it

docs/providers.md is written from this by `manage.py provider_table`; a test says when it lags.
"""

from collections.abc import Mapping

RECORDED, MOCK, UNTESTED = "recorded", "mock", "untested"

ABILITIES = {
    "text": "text",
    "stream": "streaming",
    "image": "images in",
    "file": "files and PDF in",
    "audio": "audio in",
    "video": "video in",
    "tools": "tools and results",
    "parallel_tools": "parallel tool calls",
    "json_schema": "structured output",
    "reasoning": "reasoning",
    "citations": "citations",
    "logprobs": "logprobs",
    "n": "several choices (n)",
    "caching": "prompt caching marks",
    "embedding": "embeddings",
    "rerank": "rerank",
}


def table(declared: Mapping[str, Mapping[str, str]]) -> str:
    """The table as Markdown: a row for each ability, a column for each kind. Raises ValueError at an unknown word."""
    kinds = sorted(declared)
    for kind in kinds:
        if unknown := set(declared[kind]) - set(ABILITIES):
            raise ValueError(f"{kind} declares {sorted(unknown)}, which nobody knows")
    lines = [f"| | {' | '.join(f'`{kind}`' for kind in kinds)} |", f"|---|{'---|' * len(kinds)}"]
    for ability, words in ABILITIES.items():
        lines.append(f"| {words} | {' | '.join(declared[kind].get(ability, '–') for kind in kinds)} |")
    return "\n".join(lines) + "\n"
