"""POST /v1/feedback keeps what somebody thinks of an answer, and says what is wrong with what it can't keep."""

from typing import Any

import httpx
import pytest

from tests.installation import KEY, Installation


def give(gateway: Installation, key: str = KEY, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{gateway.url}/v1/feedback", json=fields, headers=headers, timeout=30)


def test_feedback_on_a_call_just_answered_is_kept(gateway: Installation) -> None:
    call_id = gateway.chat("[fast] hello").headers["x-request-id"]
    kept = give(gateway, call_id=call_id, score=0.5, label="helpful", comment="short\nand right")
    assert kept.status_code == 201
    told = kept.json()
    assert {**told, "id": None} == {
        "id": None,
        "call_id": call_id,
        "score": 0.5,
        "label": "helpful",
        "comment": "short\nand right",
    }


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({}, 400, "call_id"),
        ({"call_id": "x", "stars": 5}, 400, "stars"),
        ({"call_id": "x", "score": "good"}, 400, "score"),
        ({"call_id": "x", "score": True}, 400, "score"),
        ({"call_id": "x", "score": 2}, 400, None),
        ({"call_id": "x"}, 400, None),
        ({"call_id": "01a1fd5c-0000-7000-8000-000000000000", "score": 1}, 404, "call_id"),
    ],
)
def test_feedback_that_cannot_be_kept_says_why(gateway: Installation, fields: dict, status: int, param: str) -> None:
    refused = give(gateway, **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)


def test_feedback_needs_a_key(gateway: Installation) -> None:
    assert give(gateway, key="sk-unknown-key-0000", call_id="x", score=1).status_code == 401
