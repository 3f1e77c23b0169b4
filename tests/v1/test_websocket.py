"""Many calls over one websocket connection."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.installation import KEY, Installation

HEADERS = {"authorization": f"Bearer {KEY}"}


def opened(gateway: Installation, **headers: str):
    url = f"ws://127.0.0.1:{gateway.port}/v1/chat/completions"
    return connect(url, additional_headers=headers or HEADERS)


def asked(identity, text: str, **more) -> str:
    return json.dumps({"id": identity, "model": "chat", "messages": [{"role": "user", "content": text}], **more})


def heard(socket, *ends) -> dict:
    """The events of the calls with these ids, until each has ended."""
    events = {identity: [] for identity in ends}
    waiting = set(ends)
    while waiting:
        message = json.loads(socket.recv(timeout=20))
        assert set(message) == {"id", "event"}
        events[message["id"]].append(message["event"])
        if message["event"] == "[DONE]" or "error" in message["event"]:
            waiting.discard(message["id"])
    return events


def text_of(events: list) -> str:
    chunks = [event for event in events if isinstance(event, dict)]
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])


def test_several_calls_at_once_answer_on_one_connection_as_over_http(gateway: Installation) -> None:
    with opened(gateway) as socket:
        socket.send(asked("a", "Say: one two three"))
        socket.send(asked(7, "[fast] Say: four", stream_options={"include_usage": True}))
        events = heard(socket, "a", 7)
    assert (text_of(events["a"]), events["a"][-1]) == ("one two three", "[DONE]")
    assert (text_of(events[7]), events[7][-1]) == ("four", "[DONE]")
    assert events[7][-2]["usage"]["cost_usd"] == "0"
    assert [event for event in events["a"][:-1] if event.get("usage")] == []


def test_a_call_can_be_stopped_and_its_id_used_again(gateway: Installation) -> None:
    with opened(gateway) as socket:
        socket.send(asked("a", "Say: " + "word " * 200))
        first = json.loads(socket.recv(timeout=20))
        socket.send(json.dumps({"id": "a", "cancel": True}))
        stopped = heard(socket, "a")["a"][-1]
        socket.send(asked("a", "[fast] Say: again"))
        again = heard(socket, "a")["a"]
    assert first["id"] == "a"
    assert stopped["error"]["code"] == "cancelled"
    assert text_of(again) == "again"


@pytest.mark.parametrize(
    ("message", "identity", "code", "param"),
    [
        ("{", None, "invalid_json", None),
        ('{"id": "a", "id": "b"}', None, "invalid_json", None),
        ('{"cancel": true}', None, "invalid_request", "id"),
        ('{"id": null, "model": "chat"}', None, "invalid_request", "id"),
        ('{"id": "a"}', "a", "invalid_request", "model"),
        ('{"id": "a", "model": "nothing", "messages": [{"role": "user"}]}', "a", "model_not_found", "model"),
        ('{"id": "a", "model": "chat", "messages": []}', "a", "invalid_request", "messages"),
        ('{"id": "a", "model": "chat", "messages": [], "max_tokens": 0}', "a", "invalid_request", "max_tokens"),
    ],
)
def test_what_cannot_be_answered_says_why_under_its_id(gateway, message, identity, code, param) -> None:
    with opened(gateway) as socket:
        socket.send(message)
        answer = json.loads(socket.recv(timeout=20))
        socket.send(asked("next", "[fast] Say: still here"))
        after = heard(socket, "next")["next"]
    assert (answer["id"], answer["event"]["error"]["code"], answer["event"]["error"]["param"]) == (
        identity,
        code,
        param,
    )
    assert text_of(after) == "still here"


def test_a_call_without_an_id_is_answered_with_the_events_themselves(gateway: Installation) -> None:
    with opened(gateway) as socket:
        for text in ("one", "two"):
            socket.send(json.dumps({"model": "chat", "messages": [{"role": "user", "content": f"[fast] Say: {text}"}]}))
            messages = []
            while "[DONE]" not in messages:
                messages.append(socket.recv(timeout=20))
            assert text_of([json.loads(each) for each in messages[:-1]]) == text
        socket.send('{"model": "chat"}')
        assert json.loads(socket.recv(timeout=20))["error"]["param"] == "messages"


def test_an_id_that_is_under_way_is_refused(gateway: Installation) -> None:
    with opened(gateway) as socket:
        socket.send(asked("a", "Say: " + "word " * 50))
        socket.send(asked("a", "Say: twice"))
        answer = heard(socket, "a")["a"][-1]
    assert answer["error"]["param"] == "id"


def test_a_key_that_opens_nothing_opens_no_connection(gateway: Installation) -> None:
    with pytest.raises(InvalidStatus) as refused:
        opened(gateway, authorization="Bearer sk-nobody-knows-this")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"


def test_other_paths_take_no_websocket(gateway: Installation) -> None:
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{gateway.port}/v1/embeddings", additional_headers=HEADERS)
    assert httpx.get(f"{gateway.url}/healthz", timeout=5).status_code == 200
