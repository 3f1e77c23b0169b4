"""Why a call went where it went, read from its record."""

import json

import pytest
from django.utils import timezone

from audit.decisions import decision_of
from audit.models import CallRecord
from tests import rows


def record(**fields) -> CallRecord:
    rest = {
        "attempts": [
            {"model": "a", "provider": "p", "status": 500, "outcome": "failed", "us": 12_000, "reason": "server_error"},
            {
                "model": "b",
                "provider": "q",
                "status": 200,
                "outcome": "answered",
                "us": 40_000,
                "cost_nanos": 1_500_000,
            },
        ],
        "decision": [
            {"model": "a", "provider": "p", "state": "failed", "why": "out of order"},
            {"model": "b", "provider": "q", "state": "answered"},
            {"model": "c", "provider": "r", "state": "left out", "why": "is for has_image is true; here it is false"},
            {"model": "d", "provider": "s", "state": "candidate"},
        ],
    }
    return CallRecord(
        **{
            "id": "call-1",
            "at": timezone.now(),
            "asked": "chat",
            "route": "chat",
            "model": "b",
            "provider": "q",
            "status": 200,
            "outcome": "answered",
            "streamed": False,
            "input_tokens": 1,
            "output_tokens": 1,
            "cached_tokens": 0,
            "cost_nanos": 1_500_000,
            "total_us": 60_000,
            "redacted": 0,
            "worker": "w",
            "seq": 1,
            "rest": json.dumps(rest),
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("outrun", "a at p was asked and overtaken: so it was."),
        ("broke off", "a at p began to answer and broke off: so it was."),
        ("continued", "a at p took over: so it was."),
    ],
)
def test_what_becomes_of_two_targets_of_one_answer_is_told_in_words(state, told):
    line = {"model": "a", "provider": "p", "state": state, "why": "so it was"}
    assert decision_of(record(rest=json.dumps({"decision": [line]})))["words"] == [told]


def test_a_decision_is_told_in_words():
    assert decision_of(record())["words"] == [
        "a at p was asked and failed: out of order.",
        "b at q answered.",
        "c at r was left out: is for has_image is true; here it is false.",
        "d at s was not needed.",
        "Attempt 1, a: failed with status 500 after 12 ms, for 0 US dollars.",
        "Attempt 2, b: answered with status 200 after 40 ms, for 0.0015 US dollars.",
    ]


def test_a_plain_call_says_who_answered_though_its_line_is_its_routes_own():
    rest = {
        "attempts": [{"model": "a", "provider": "p", "outcome": "answered", "us": 1}],
        "decision": [
            {"model": "a", "provider": "p", "state": "candidate"},
            {"model": "b", "provider": "p", "state": "candidate"},
        ],
    }
    found = decision_of(record(rest=json.dumps(rest)))
    assert [line["state"] for line in found["targets"]] == ["answered", "candidate"]


@pytest.mark.django_db
def test_a_decision_is_shown_to_the_workspaces_people_and_to_nobody_else(client):
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    record(workspace_id=str(acme.workspace.pk), workspace="acme").save()

    client.force_login(acme.person("viewer"))
    shown = client.get("/api/calls/call-1/decision/")
    client.force_login(umbra.person("owner"))
    hidden = client.get("/api/calls/call-1/decision/")

    assert (shown.status_code, shown.json()["model"]) == (200, "b")
    assert hidden.status_code == 404
