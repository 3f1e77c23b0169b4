"""OpenAI's older completions: passed through where served, over chat completions everywhere else."""

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import sse
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.edge.chat import ChatWriter, read, read_whole, readable, written
from gateway.edge.errors import encode_openai_error

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError

SAME = frozenset(
    {"model", "stream", "stream_options", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "logit_bias"}
    | {"presence_penalty", "frequency_penalty"}
)


class Completions:
    """The form of POST /v1/completions; see core.forms.Form."""

    name = "completions"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        sent = {name: body[name] for name in body if name in SAME and body[name] is not None}
        for name in ("suffix", "echo"):
            if body.get(name):
                raise Unsupported(
                    f"{name}: this model only speaks chat completions, which have no such thing", param=name
                )
        if (body.get("best_of") or 1) > (body.get("n") or 1):
            raise Unsupported(
                "best_of: this model only speaks chat completions, which have no such thing", param="best_of"
            )
        if body.get("logprobs") is not None:
            sent |= {"logprobs": True, "top_logprobs": body["logprobs"]}
        if "max_tokens" in sent:
            sent["max_completion_tokens"] = sent.pop("max_tokens")
        return sent | {"messages": [{"role": "user", "content": prompt(body.get("prompt"))}]}

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        if delta.form == self.name:
            return delta.raw if delta.raw is not None else msgspec.json.encode(delta.data)
        return msgspec.json.encode(completion_of(read_whole(delta)))

    def writer(self, call: "Call") -> "CompletionsWriter":
        return CompletionsWriter(call)

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        return encode_openai_error(error)


class CompletionsWriter(ChatWriter):
    """As chat's, with each chunk in the older shape."""

    object = "text_completion"
    prefix = "cmpl"

    def written(self, delta: "Delta") -> bytes:
        if delta.form == "completions":
            return written(delta)
        chunk = readable(delta)
        return sse.encode(msgspec.json.encode(completion_of(chunk))) if chunk else delta.raw or b""

    def shown(self, delta: "Delta") -> dict[str, Any]:
        chunk = read(delta)
        return chunk if delta.form == "completions" or not chunk else completion_of(chunk)


def prompt(given: Any) -> str:
    """The one text that is to be continued. Raises Unsupported for several, and for token numbers."""
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, str):
        return given
    if given is None:
        raise InvalidRequest("the body must hold a prompt", param="prompt")
    raise Unsupported("prompt: this model only speaks chat completions, so send one text", param="prompt")


def completion_of(answer: dict[str, Any]) -> dict[str, Any]:
    """A chat completion, or a chunk of one, in the older shape."""
    choices = [choice_of(choice) for choice in answer.get("choices") or ()]
    return answer | {"object": "text_completion", "choices": choices}


def choice_of(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message") or choice.get("delta") or {}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return {
        "text": (content or "") + (message.get("refusal") or ""),
        "index": choice.get("index", 0),
        "logprobs": logprobs_of((choice.get("logprobs") or {}).get("content")),
        "finish_reason": choice.get("finish_reason"),
    }


def logprobs_of(tokens: Any) -> dict[str, Any] | None:
    if not tokens:
        return None
    offsets, at = [], 0
    for each in tokens:
        offsets.append(at)
        at += len(each.get("token", ""))
    return {
        "tokens": [each.get("token") for each in tokens],
        "token_logprobs": [each.get("logprob") for each in tokens],
        "top_logprobs": [
            {top.get("token"): top.get("logprob") for top in each.get("top_logprobs") or ()} for each in tokens
        ],
        "text_offset": offsets,
    }
