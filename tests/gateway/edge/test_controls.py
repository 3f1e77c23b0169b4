import pytest

from gateway.core.call import Controls
from gateway.core.errors import InvalidRequest
from gateway.edge.controls import read

OWN = {"model": "m", "messages": [], "temperature": 1, "provider": {"order": ["x"]}}


def taken(body: dict, form: str = "chat", **headers: str) -> Controls:
    controls, rest = read(OWN | body, {name.replace("_", "-"): value for name, value in headers.items()}, form)
    assert rest == OWN
    return controls


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, Controls()),
        ({"prompt": "summary@v2", "inputs": {"a": 1}}, Controls(prompt="summary@v2", inputs={"a": 1})),
        (
            {"prompt": {"id": "s", "version": 2, "variables": {"a": 1}}, "inputs": {"b": 2}},
            Controls(prompt={"id": "s", "version": 2, "variables": {"a": 1}}, inputs={"a": 1, "b": 2}),
        ),
        ({"prompt": "s", "channel": "staging"}, Controls(prompt="s", channel="staging")),
        ({"prefer": ["a", "b"]}, Controls(prefer=("a", "b"))),
        ({"models": ["a"], "fallback_models": "a"}, Controls(prefer=("a",))),
        ({"cache": "semantic", "cache_ttl": 60}, Controls(cache="semantic", cache_ttl_s=60)),
        ({"cache_enabled": False}, Controls(cache="off")),
        ({"cache_enabled": True}, Controls(cache="on")),
        ({"cache_enabled": True, "cache": "semantic"}, Controls(cache="semantic")),
        (
            {"cache_options": {"cache_by_customer": True, "force_refresh": True}},
            Controls(cache_by_customer=True, force_refresh=True),
        ),
        ({"budget": 0.05}, Controls(budget_nanos=50_000_000)),
        ({"budget": "0.000000001"}, Controls(budget_nanos=1)),
        ({"budget": 0}, Controls(budget_nanos=0)),
        ({"user": "u"}, Controls(user="u")),
        ({"customer_identifier": "u", "safety_identifier": "u"}, Controls(user="u")),
        (
            {"metadata": {"tags": ["a"], "session_id": "s", "run_id": 7, "x": 1}},
            Controls(
                metadata={"tags": ["a"], "session_id": "s", "run_id": 7, "x": 1},
                tags=("a",),
                session_id="s",
                run_id="7",
            ),
        ),
        ({"metadata": {"tags": {"env": "prod"}}}, Controls(metadata={"tags": {"env": "prod"}}, tags=("env:prod",))),
        ({"redact": ["pii"]}, Controls(redact=("pii",))),
        ({"timeout": 2.5, "drop_unsupported": True}, Controls(timeout_s=2.5, drop_unsupported=True)),
        ({"tollgate": {"budget": "1", "user": "u"}}, Controls(budget_nanos=1_000_000_000, user="u")),
        ({"tollgate.timeout": 3, "timeout": 3}, Controls(timeout_s=3.0)),
        ({"user": None, "cache": None, "budget": None}, Controls()),
    ],
)
def test_every_control_is_read_and_leaves_the_body(body, expected):
    assert taken(body) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("no-store", Controls(no_store=True)),
        ("No-Cache", Controls(force_refresh=True)),
        ("max-age=60, public", Controls(cache_ttl_s=60)),
        ("max-age=x", Controls()),
    ],
)
def test_the_cache_control_header_says_the_same(header, expected):
    assert taken({}, cache_control=header) == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tollgate": {"budgets": 1}}, "tollgate.budgets"),
        ({"tollgate.nothing": 1}, "tollgate.nothing"),
        ({"tollgate": 7}, "tollgate"),
        ({"tollgate": {"user": "a"}, "user": "b"}, "user"),
        ({"user": "a", "customer_identifier": "b"}, "customer_identifier"),
        ({"prefer": ["a"], "models": ["b"]}, "models"),
        ({"prefer": [1]}, "prefer"),
        ({"prefer": {"a": 1}}, "prefer"),
        ({"cache": "yes"}, "cache"),
        ({"cache": ["off"]}, "cache"),
        ({"cache": "exact", "cache_enabled": False}, "cache"),
        ({"cache": "off", "cache_enabled": True}, "cache"),
        ({"cache_enabled": "true"}, "cache_enabled"),
        ({"cache_ttl": 1.5}, "cache_ttl"),
        ({"cache_ttl": -1}, "cache_ttl"),
        ({"cache_options": {"other": 1}}, "cache_options.other"),
        ({"cache_options": {"force_refresh": 1}}, "cache_options.force_refresh"),
        ({"budget": -0.1}, "budget"),
        ({"budget": True}, "budget"),
        ({"budget": "much"}, "budget"),
        ({"budget": 1e300}, "budget"),
        ({"budget": [1]}, "budget"),
        ({"user": ["u"]}, "user"),
        ({"user": "u" * 513}, "user"),
        ({"metadata": "m"}, "metadata"),
        ({"metadata": {"tags": [1]}}, "metadata.tags"),
        ({"metadata": {"session_id": {}}}, "metadata.session_id"),
        ({"redact": 1}, "redact"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"drop_unsupported": 1}, "drop_unsupported"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": {"version": 1}}, "prompt.id"),
        ({"prompt": {"id": "s", "version": 1.5}}, "prompt.version"),
        ({"prompt": {"id": "s", "variables": []}}, "prompt.variables"),
        ({"prompt": {"id": "s", "variables": {"a": 1}}, "inputs": {"a": 2}}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.0}, "n"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_control_that_cannot_be_meant_is_refused_by_name(body, param):
    with pytest.raises(InvalidRequest) as refused:
        read(OWN | body, {})
    assert (refused.value.param, refused.value.status) == (param, 400)


@pytest.mark.parametrize(
    ("body", "header", "param"),
    [({"cache": "exact"}, "no-store", "cache"), ({"cache_ttl": 5}, "max-age=6", "cache_ttl")],
)
def test_a_header_that_contradicts_the_body_is_refused(body, header, param):
    with pytest.raises(InvalidRequest) as refused:
        read(OWN | body, {"cache-control": header})
    assert refused.value.param == param


@pytest.mark.parametrize("form", ["completions", "images", "audio_transcriptions"])
def test_a_prompt_is_the_text_where_the_form_has_one(form):
    assert read({"prompt": "Once"}, {}, form) == (Controls(), {"prompt": "Once"})
    assert read({"prompt": {"id": "s"}}, {}, form) == (Controls(prompt={"id": "s"}), {})
    assert read({"tollgate": {"prompt": "s"}, "prompt": "a"}, {}, form) == (Controls(prompt="s"), {"prompt": "a"})


def test_anthropics_user_id_is_the_end_user():
    assert read({"metadata": {"user_id": "u"}}, {}, "messages")[0].user == "u"
    assert read({"metadata": {"user_id": "u"}}, {}, "chat")[0].user == ""
