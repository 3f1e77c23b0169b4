"""The key of a call: whatever shapes the answer makes another one, and nothing else does."""

from dataclasses import replace

import pytest

from gateway.caching.exact import exact_key, is_cacheable
from gateway.edge.endpoints import FORMS
from tests.gateway.caching.sample import TARGET, call, routes

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
OTHERS = {
    "the workspace": {"workspace": "v"},
    "the question": {"text": "hello!"},
    "the system prompt": {"body": {"messages": SYSTEM}},
    "tools": {"body": {"tools": TOOLS}},
    "temperature": {"body": {"temperature": 0.5}},
    "a temperature of 0": {"body": {"temperature": 0}},
    "the most tokens": {"body": {"max_tokens": 9}},
    "a parameter that nobody knows": {"body": {"whatever": [1]}},
    "the route": {"route": "other"},
    "the model behind it": {"candidates": (replace(TARGET, upstream="gpt-two"),)},
    "the address behind it": {"candidates": (replace(TARGET, base_url="http://elsewhere"),)},
    "the order of targets": {"candidates": (TARGET, replace(TARGET, model="two"))},
    "the form": {"form": FORMS["/v1/completions"]},
    "the prompt's version": {"prompt": "faq@3"},
    "the experiment's arm": {"experiment": "e/b"},
    "what is redacted": {"redact": ("pii",)},
    "the end user, where asked": {"cache_by_customer": True, "user": "ann"},
    "another end user, where asked": {"cache_by_customer": True, "user": "bob"},
    "dropping what is not supported": {"drop_unsupported": True},
}
NOTHING = {
    "who asks": {"user": "ann"},
    "the key": {"id": "another"},
    "metadata": {"metadata": {"a": 1}, "tags": ("x",), "session_id": "s", "run_id": "r"},
    "the budget": {"budget_nanos": 5},
    "the deadline": {"timeout_s": 3.0},
    "how long to keep it": {"cache_ttl_s": 5},
    "headers": {"headers": {"anthropic-version": "2024-01-01", "traceparent": "00-1"}},
    "the credential": {"candidates": (replace(TARGET, credential="second", secret="sk-2"),)},
}


def test_whatever_shapes_the_answer_makes_another_key() -> None:
    config = routes()
    keys = {name: exact_key(call(**fields), config) for name, fields in OTHERS.items()}
    keys["none of it"] = exact_key(call(), config)
    keys["another policy"] = exact_key(call(), routes(policy_versions={"w": "2"}))
    assert len(set(keys.values())) == len(OTHERS) + 2


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_else_does(name: str) -> None:
    config = routes()
    assert exact_key(call(**NOTHING[name]), config) == exact_key(call(), config)


def test_the_order_of_fields_is_no_difference_but_that_of_messages_is() -> None:
    config = routes()
    one, other = call(body={"top_p": 0.1, "seed": 2}), call(body={"seed": 2, "top_p": 0.1})
    assert exact_key(one, config) == exact_key(other, config)
    turned = call(body={"messages": SYSTEM[::-1]})
    assert exact_key(turned, config) != exact_key(call(body={"messages": SYSTEM}), config)


def test_an_answer_that_depends_on_more_than_the_call_is_not_kept() -> None:
    assert is_cacheable(call())
    assert not is_cacheable(call(caller=None))
    assert not is_cacheable(call(form=FORMS["/v1/images/generations"]))
    responses = FORMS["/v1/responses"]
    assert is_cacheable(call(form=responses))
    for field in ("previous_response_id", "conversation", "background"):
        assert not is_cacheable(call(form=responses, body={field: "x"}))
