"""What a target is sent: fields dropped on request, models ruled out, beta features passed, broken credentials told."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.call import Call, Controls
from gateway.core.errors import Unsupported, UpstreamUnavailable
from gateway.edge.endpoints import FORMS
from gateway.providers import provider_of
from gateway.routing.encode import encode
from tests.gateway.providers.replay import target

SAY = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}


def encoded(kind: str, body: dict[str, Any], path: str = "/v1/chat/completions", **more: Any) -> Any:
    to = target(kind, **more.pop("to", {}))
    call = Call("c", FORMS[path], body, headers=more.pop("headers", {}), controls=Controls(**more))
    return encode(call, SimpleNamespace(adapter=provider_of(to)), to)


def test_a_field_that_the_target_has_not_is_refused_or_dropped_on_request():
    with pytest.raises(Unsupported) as raised:
        encoded("anthropic", SAY | {"seed": 1, "n": 2})
    assert raised.value.param == "seed"
    sent = encoded("anthropic", SAY | {"seed": 1, "n": 2}, drop_unsupported=True)
    assert json.loads(sent.body)["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


def test_a_model_that_can_not_is_ruled_out_before_anything_is_written():
    tools = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(Unsupported, match="calls no tools"):
        encoded("openai", SAY | {"tools": tools}, to={"capabilities": frozenset()})


def test_a_beta_feature_of_anthropics_clients_reaches_anthropic():
    sent = encoded(
        "anthropic", SAY | {"max_tokens": 5}, "/v1/messages", headers={"anthropic-beta": "files-api-2025-04-14"}
    )
    assert sent.headers["anthropic-beta"] == "files-api-2025-04-14"
    assert "anthropic_beta" not in json.loads(sent.body)


def test_a_credential_that_can_not_sign_is_an_attempt_that_failed_before_it_was_sent():
    found = encoded("bedrock", SAY, to={"secret": ":", "region": "eu-west-1"})
    assert (type(found), found.kind, found.sent) == (UpstreamUnavailable, "auth", False)
