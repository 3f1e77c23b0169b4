"""Masking a call and restoring its answer."""

import json
from typing import Any

import pytest

from gateway.core.call import Delta
from gateway.core.errors import Forbidden, InvalidRequest
from gateway.redaction import stage
from gateway.redaction.stage import mask, restore
from gateway.snapshot import RoutesSnapshot
from tests.gateway.redaction.sample import ORIGINALS, ZA_ID, call, routes


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> Delta:
    inner = delta if content is None else {"content": content, **delta}
    data = {"choices": [{"index": 0, "delta": inner, "finish_reason": finish}]}
    return Delta(data=data, text=content or "", finish=finish)


def said(deltas: list[Delta]) -> str:
    return "".join(delta.data["choices"][0]["delta"].get("content") or "" for delta in deltas)


async def test_a_text_goes_out_with_placeholders_and_the_callers_own_object_stays_as_it_was() -> None:
    asked = call(f"I am Thabo Mokoena, thabo@example.co.za, {ZA_ID}. Again: thabo@example.co.za")
    before = asked.body
    await mask(asked, routes())
    assert asked.body["messages"][0]["content"] == "I am <PERSON_1>, <EMAIL_1>, <ID_NUMBER_1>. Again: <EMAIL_1>"
    assert before["messages"][0]["content"].endswith("Again: thabo@example.co.za")
    assert asked.redacted == 4
    assert asked.guardrails == [
        {"kind": "redaction", "on": "input", "verdict": "masked", "found": {"email": 2, "id_number": 1, "person": 1}}
    ]


async def test_a_clean_call_keeps_its_body_and_has_no_vault() -> None:
    asked = call("How many days has a year?")
    body = asked.body
    await mask(asked, routes())
    assert asked.body is body
    assert (asked.vault, asked.redacted, asked.guardrails) == (None, 0, [])


async def test_a_workspace_without_a_policy_masks_nothing_unless_the_call_asks() -> None:
    nobody = RoutesSnapshot({}, {})
    asked, asking = call("jo@example.org"), call("jo@example.org", redact=("pii",))
    await mask(asked, nobody)
    await mask(asking, nobody)
    assert asked.body["messages"][0]["content"] == "jo@example.org"
    assert asking.body["messages"][0]["content"] == "<EMAIL_1>"


async def test_a_call_adds_to_what_its_workspace_masks_and_takes_nothing_away() -> None:
    asked = call("jo@example.org 41.13.22.8", redact=("ip_address",))
    await mask(asked, routes(detect=frozenset({"email"})))
    assert asked.body["messages"][0]["content"] == "<EMAIL_1> <IP_ADDRESS_1>"


async def test_a_kind_that_there_is_none_of_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await mask(call("x", redact=("faces",)), routes())
    assert refused.value.param == "redact"
    assert refused.value.message.startswith("There is nothing called 'faces' to redact; choose from pii, credit_card,")


async def test_a_policy_that_blocks_refuses_naming_kinds_and_never_values() -> None:
    asked = call("mail jo@example.org or 082 123 4567")
    with pytest.raises(Forbidden) as refused:
        await mask(asked, routes(action="block"))
    assert refused.value.code == "redaction_blocked"
    assert refused.value.message == "This call holds data that its workspace does not let out: email, phone."
    assert asked.guardrails[0]["verdict"] == "blocked"


async def test_a_policy_that_masks_gives_nothing_back() -> None:
    asked = call("jo@example.org")
    await mask(asked, routes(action="mask"))
    delta = Delta(data={"choices": [{"message": {"content": "To <EMAIL_1>"}}]})
    assert restore(asked, delta) is delta


@pytest.mark.parametrize(("on_error", "content"), [("mask", "<REDACTED_1>"), ("allow", "jo@example.org")])
async def test_a_detector_that_fails_masks_the_field_or_lets_it_through_as_the_policy_says(
    on_error: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = routes(on_error=on_error, names=("Somebody",))
    found = stage.finder(stage.rules(broken.redaction["w"]))
    monkeypatch.setattr(found, "engine", Broken())
    asked = call("jo@example.org")
    await mask(asked, broken)
    assert asked.body["messages"][0]["content"] == content
    assert asked.guardrails[0] == {
        "kind": "redaction",
        "on": "input",
        "verdict": "error",
        "then": {"mask": "masked", "allow": "allowed"}[on_error],
    }


async def test_a_detector_that_fails_blocks_the_call_by_default_and_its_body_is_let_go() -> None:
    broken = routes(engine="nowhere:model")
    asked = call("jo@example.org")
    with pytest.raises(Forbidden) as refused:
        await mask(asked, broken)
    assert refused.value.code == "redaction_blocked"
    assert "jo@" not in refused.value.message


class Broken:
    def people(self, text: str) -> list[tuple[int, int]]:
        raise RuntimeError(f"the model died over {text}")


async def test_a_placeholder_in_the_callers_own_words_is_nobodys_and_comes_back_as_it_is() -> None:
    asked = call("What is <EMAIL_1>? Mine is jo@example.org")
    await mask(asked, routes())
    assert asked.body["messages"][0]["content"] == "What is <EMAIL_1>? Mine is <EMAIL_2>"
    shown = restore(asked, Delta(data={"choices": [{"message": {"content": "<EMAIL_1> is yours, <EMAIL_2>"}}]}))
    assert shown.data == {"choices": [{"message": {"content": "<EMAIL_1> is yours, jo@example.org"}}]}


async def test_tool_arguments_are_masked_inside_their_json_and_restored_as_json() -> None:
    arguments = json.dumps({"to": "jo@example.org", "id": int(ZA_ID), "jo@example.org": 'say "hi"'})
    message = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "mail", "arguments": arguments}}]}
    asked = call(body={"model": "chat", "messages": [message]})
    await mask(asked, routes(words=('say "hi"',)))
    sent = asked.body["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == {"to": "<EMAIL_1>", "id": "<ID_NUMBER_1>", "<EMAIL_1>": "<CUSTOM_1>"}
    answer = {"choices": [{"message": {"tool_calls": [{"function": {"arguments": '{"a":"<CUSTOM_1>"}'}}]}}]}
    shown = restore(asked, Delta(raw=json.dumps(answer).encode()))
    assert json.loads(shown.data["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {
        "a": 'say "hi"'
    }


async def test_labels_on_the_record_are_masked_and_identities_become_pseudonyms() -> None:
    asked = call(
        "hello",
        user="jo@example.org",
        session_id="jo@example.org",
        tags=("vip", "jo@example.org"),
        metadata={"note": "call 082 123 4567", "session_id": "jo@example.org", "phone": 27821234567},
    )
    await mask(asked, routes())
    again = call("hello", session_id="jo@example.org")
    await mask(again, routes())
    controls = asked.controls
    assert controls.session_id == again.controls.session_id == controls.metadata["session_id"]
    assert controls.session_id.startswith("pseudonym-")
    assert controls.tags == ("vip", "<EMAIL_1>")
    assert {name: controls.metadata[name] for name in ("note", "phone")} == {
        "note": "call <PHONE_1>",
        "phone": "<PHONE_2>",
    }
    assert controls.user == "jo@example.org"  # the record keeps it by its own pseudonym


async def test_a_call_refused_before_it_was_masked_leaves_nothing_to_record() -> None:
    asked = call("jo@example.org", tags=("jo@example.org",))
    with pytest.raises(Forbidden):
        async with stage.sealed(asked, routes()):
            raise Forbidden("no")
    assert (asked.body, asked.controls.tags) == ({}, ("<EMAIL_1>",))


async def test_a_vault_shows_no_original_to_whoever_prints_it() -> None:
    asked = call(*ORIGINALS.values())
    await mask(asked, routes())
    shown = repr(asked.vault) + "".join(str(getattr(asked.vault, name, "")) for name in type(asked.vault).__slots__)
    assert [original for original in ORIGINALS.values() if original in shown] == []


async def test_restoring_costs_nothing_where_nothing_was_masked() -> None:
    asked, delta = call("hello", stream=True), Delta(raw=b'data: {"choices":[]}\n\n')
    await mask(asked, routes())
    assert restore(asked, delta) is delta


async def test_a_long_body_is_looked_at_in_a_thread_and_masked_the_same() -> None:
    asked = call("Lorem ipsum dolor. " * 2_000 + "jo@example.org")
    await mask(asked, routes())
    assert asked.body["messages"][0]["content"].endswith("dolor. <EMAIL_1>")
