"""OpenAI's embeddings form, for adapters that translate it."""

from typing import Any

from gateway.core.call import Delta, Usage
from gateway.core.errors import InvalidRequest, Unsupported

HINTS = frozenset({"input", "model", "user", "metadata"})


def check(body: dict[str, Any], served: frozenset[str], provider: str) -> None:
    """Raises Unsupported, naming the first field that the provider has nothing like.

    The vectors always come back as numbers; OpenAI's clients read them also where they asked for base64.
    """
    for field, value in body.items():
        if value is not None and field not in served and field not in HINTS and field != "encoding_format":
            raise Unsupported(f"{provider} has nothing like {field!r} for embeddings", param=field)
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64", param="encoding_format")


def texts(body: dict[str, Any]) -> list[str]:
    """The texts to embed. Raises Unsupported for tokens, InvalidRequest for anything else."""
    given = body.get("input")
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not found:
        raise InvalidRequest("input must be a string or a list of strings", param="input")
    if not all(isinstance(text, str) for text in found):
        raise Unsupported("this provider embeds text only, not tokens", param="input")
    return found


def answered(vectors: list[list[float]], usage: Usage | None, model: str) -> Delta:
    """An answer in OpenAI's form, its vectors as numbers. Without a usage the gateway estimates it."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    tokens = usage.input if usage else 0
    shown = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Delta(data={"object": "list", "data": data, "model": model, "usage": shown}, form="embeddings", usage=usage)
