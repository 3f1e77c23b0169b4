"""The key of a call: a digest of everything that shapes its answer. Calls with one key have one answer."""

from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.caching.shapes import SHAPE_FIELDS, has_both_shapes
from gateway.core.call import Call
from gateway.snapshot import RoutesSnapshot

FORMS = frozenset({"chat", "completions", "messages", "responses", "embeddings", "rerank", "moderations"})
SINGLE_PIECE = frozenset({"embeddings", "rerank", "moderations"})  # forms whose answers have no finish reason
STATEFUL = ("previous_response_id", "conversation", "background")  # the answer depends on more than the call
HEADERS = ("anthropic-beta", "anthropic-version")  # of the caller's, those that reach a provider

_digest = partial(blake2b, digest_size=32)
_encode = msgspec.json.Encoder(order="deterministic").encode


def is_cacheable(call: Call) -> bool:
    """Whether this call's answer depends on nothing but the call."""
    if call.form.name not in FORMS or call.caller is None:
        return False
    body = call.body
    return call.form.name != "responses" or not any(body.get(name) for name in STATEFUL)


def scope(call: Call, routes: RoutesSnapshot) -> list[Any]:
    """All that shapes the answer except the body; the workspace stands first."""
    caller, controls, headers = call.caller, call.controls, call.headers
    assert caller is not None
    return [
        caller.workspace_id,
        routes.policy_versions.get(caller.workspace_id, ""),
        call.route,
        [
            (each.model, each.provider, each.kind, each.base_url, each.upstream, each.region, each.api_version)
            for each in call.candidates
        ],
        call.form.name,
        None if has_both_shapes(call) else call.stream,
        call.prompt,
        call.experiment,
        controls.user if controls.cache_by_customer else None,
        controls.redact,
        controls.drop_unsupported,
        [headers.get(name) for name in HEADERS] if call.form.name == "messages" else None,
    ]


def exact_key(call: Call, routes: RoutesSnapshot) -> bytes:
    """32 bytes. JSON with sorted keys is one-to-one, so different calls never write the same bytes."""
    return _digest(_encode([*scope(call, routes), asked(call)])).digest()


def asked(call: Call) -> dict[str, Any]:
    """The body without what says only whether and how the answer is streamed: the usage in it is asked for always."""
    if not has_both_shapes(call) or SHAPE_FIELDS.isdisjoint(call.body):
        return call.body
    return {name: value for name, value in call.body.items() if name not in SHAPE_FIELDS}
