"""The names of our spans and figures, in one place: OpenTelemetry's HTTP and GenAI conventions, and our own beside them.

The GenAI conventions are not stable yet and change their names; these are those of schema 1.44.0, written down here
so that a library's update renames nothing. Nothing that a caller wrote is an attribute: no text, no end user, no
address, no model's name that the configuration does not know.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.core.call import Attempt, Call
from gateway.core.money import dollars

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
Value = str | int | float | bool | tuple[str, ...]

# Form -> its endpoint, and what the conventions call its operation.
FORMS: Mapping[str, tuple[str, str]] = {
    "chat": ("/v1/chat/completions", "chat"),
    "responses": ("/v1/responses", "chat"),
    "messages": ("/v1/messages", "chat"),
    "completions": ("/v1/completions", "text_completion"),
    "embeddings": ("/v1/embeddings", "embeddings"),
    "rerank": ("/v1/rerank", "rerank"),
    "moderations": ("/v1/moderations", "moderation"),
    "images": ("/v1/images/generations", "generate_content"),
    "audio_speech": ("/v1/audio/speech", "generate_content"),
    "audio_transcriptions": ("/v1/audio/transcriptions", "generate_content"),
    "audio_translations": ("/v1/audio/translations", "generate_content"),
}
# A provider's kind -> gen_ai.provider.name. Kinds that are not here are told by their host, or as they are.
PROVIDERS: Mapping[str, str] = {
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
}
HOSTS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.mistral.ai": "mistral_ai",
}
NUMBERS: Mapping[str, str] = {  # a request's number -> its attribute
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "n": "gen_ai.request.choice.count",
}
MOST_SIGNED = 2**63
# The conventions' own bounds, in seconds and in tokens.
OPERATION_SECONDS = tuple(0.01 * 2**power for power in range(14))
OPERATION_TOKENS = tuple(4.0**power for power in range(14))
OPERATIONS: Mapping[str, tuple[str, str, tuple[float, ...]]] = {  # figure -> what it is, unit, bounds
    "gen_ai.client.operation.duration": ("How long requests to providers took.", "s", OPERATION_SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": ("To the first piece of a stream.", "s", OPERATION_SECONDS),
    "gen_ai.client.token.usage": ("Tokens that went in and came out.", "{token}", OPERATION_TOKENS),
}
# What Prometheus scrapes -> what a collector is sent, and its unit.
FIGURES: Mapping[str, tuple[str, str]] = {
    "tollgate_calls": ("tollgate.calls", "{call}"),
    "tollgate_input_tokens": ("tollgate.tokens.input", "{token}"),
    "tollgate_cached_input_tokens": ("tollgate.tokens.cached_input", "{token}"),
    "tollgate_output_tokens": ("tollgate.tokens.output", "{token}"),
    "tollgate_cost_usd": ("tollgate.cost", "{USD}"),
    "tollgate_attempts": ("tollgate.attempts", "{attempt}"),
    "tollgate_cache": ("tollgate.cache.lookups", "{lookup}"),
    "tollgate_redacted": ("tollgate.redacted", "{value}"),
    "tollgate_overload_refused": ("tollgate.overload.refused", "{call}"),
    "tollgate_overload_running": ("tollgate.overload.running", "{call}"),
    "tollgate_overload_limit": ("tollgate.overload.limit", "{call}"),
    "tollgate_gc_seconds": ("tollgate.gc.duration", "s"),
    "tollgate_journal_bytes": ("tollgate.journal.waiting", "By"),
    "tollgate_circuits": ("tollgate.circuits", "{circuit}"),
    "tollgate_call_seconds": ("tollgate.call.duration", "s"),
    "tollgate_first_token_seconds": ("tollgate.call.time_to_first_token", "s"),
    "tollgate_own_seconds": ("tollgate.call.own_duration", "s"),
}


def endpoint_of(form: str) -> str:
    """The path at which a form is spoken."""
    return FORMS[form][0] if form in FORMS else "/v1"


def operation_of(form: str) -> str:
    """The conventions' name of what a form asks for."""
    return FORMS[form][1] if form in FORMS else form


def provider_of(kind: str, base_url: str) -> str:
    """The conventions' name of who stands behind a target of this kind at this address."""
    if (name := PROVIDERS.get(kind)) is not None:
        return name
    return HOSTS.get(urlsplit(base_url).hostname or "", kind)


def server_of(base_url: str) -> dict[str, Value]:
    """Where requests go; nothing where they stay in this process."""
    where = urlsplit(base_url)
    if not where.hostname:
        return {}
    return {"server.address": where.hostname, "server.port": where.port or (443 if where.scheme == "https" else 80)}


def error_of(attempt: Attempt) -> str:
    """What kept an attempt from being answered, one of a few words; nothing where it was answered."""
    if attempt.outcome == "answered":
        return ""
    return attempt.reason.partition(":")[0] if ": " in attempt.reason else attempt.outcome


def of_operation(form: str, kind: str, base_url: str, upstream: str, error: str = "") -> dict[str, Value]:
    """The attributes of the figures of requests of this form to this model there."""
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation_of(form),
        "gen_ai.provider.name": provider_of(kind, base_url),
        "gen_ai.request.model": upstream,
        **server_of(base_url),
    }
    return found | {"error.type": error} if error else found


def of_call(call: Call) -> dict[str, Value]:
    """The attributes of the span of a whole call."""
    caller = call.caller
    found: dict[str, Value] = {
        "http.request.method": "POST",
        "http.route": endpoint_of(call.form.name),
        "http.response.status_code": call.status,
        "tollgate.call.id": call.id,
        "tollgate.outcome": call.outcome,
        "tollgate.streamed": call.stream,
        "tollgate.attempts": len(call.attempts),
        "tollgate.cost_usd": dollars(call.cost_nanos),
        "tollgate.redacted": call.redacted,
    }
    said = {
        "error.type": call.code,
        "tollgate.route": call.route,
        "tollgate.cache": call.cache,
        "tollgate.prompt": call.prompt,
        "tollgate.experiment": call.experiment,
        "tollgate.workspace": caller.workspace if caller is not None else "",
        "tollgate.team": caller.team if caller is not None else "",
        "tollgate.key": caller.key if caller is not None else "",
    }
    found |= {name: value for name, value in said.items() if value}
    if call.ttft is not None:
        found["tollgate.first_token_s"] = call.ttft
    return found


def of_attempt(call: Call, attempt: Attempt) -> dict[str, Value]:
    """The attributes of the span of one request to a provider."""
    target, usage = attempt.target, attempt.usage
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation_of(call.form.name),
        "gen_ai.provider.name": provider_of(target.kind, target.base_url),
        "gen_ai.request.model": target.upstream,
        "gen_ai.request.stream": call.stream,
        "tollgate.model": target.model,
        "tollgate.provider": target.provider,
        "tollgate.outcome": attempt.outcome,
        "tollgate.cost_usd": dollars(attempt.cost_nanos),
        **server_of(target.base_url),
    }
    for field, name in NUMBERS.items():
        value = call.body.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_SIGNED:
            found[name] = value
    if attempt.status is not None:
        found["http.response.status_code"] = attempt.status
    if error := error_of(attempt):
        found["error.type"] = error
    if call.stream and attempt.first_byte is not None:
        found["gen_ai.response.time_to_first_chunk"] = attempt.first_byte - attempt.started
    if attempt.outcome == "answered" and call.finish is not None:
        found["gen_ai.response.finish_reasons"] = (call.finish,)
    tokens = {
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cached,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write + usage.cache_write_long,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }
    return found | {name: count for name, count in tokens.items() if count}
