"""Calls that come through over HTTP, whatever the first of two targets does, with the upstream's meter as the referee.

A few calls of each kind here; `CALLS=1000 pytest tests/v1/test_faults.py` makes as many as the promise is about.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.installation import KEY, Installation
from tests.upstream.server import Upstream, refusing, unconnectable

CALLS = int(os.environ.get("CALLS", "8"))
AT_ONCE = 20
WORDS = "the quick brown fox jumps over a lazy dog while small birds"
SHARE = 0.999

SCRIPTS: dict[str, dict[str, Any]] = {
    "reset": {"fault": "reset"},
    "hang-headers": {"fault": "hang"},
    "hang-first-token": {"fault": "hang", "at": "first_token"},
    "status-500": {"fault": "status", "status": 500},
    "status-503": {"fault": "status", "status": 503},
    "status-429": {"fault": "status", "status": 429},
    "status-429-wait": {"fault": "status", "status": 429, "retry_after": 20},
    "html": {"fault": "html"},
    "truncated-json": {"fault": "truncated_json", "at": "first_token"},
    "cut": {"fault": "cut", "at": "first_token"},
    "garbage-event": {"fault": "garbage_event", "at": "first_token"},
}
BEFORE = ("refuse", "hang-accept", *SCRIPTS)
AFTER: dict[str, dict[str, Any]] = {
    "late-reset": {"fault": "reset", "at": 3},
    "late-hang": {"fault": "hang", "at": 3},
    "late-cut": {"fault": "cut", "at": 3},
    "late-clean-cut": {"fault": "cut_clean", "at": 3},
    "late-truncated-json": {"fault": "truncated_json", "at": 3},
    "late-garbage-event": {"fault": "garbage_event", "at": 3},
    "late-error-event": {"fault": "error_event", "at": 3},
}


def configuration(urls: dict[str, str], good: str) -> str:
    """A route for each fault: first the provider that has it, then one that is well."""
    names = [*BEFORE, *AFTER]
    steps = "connect_timeout_s: 0.4, first_token_timeout_s: 0.4, idle_timeout_s: 0.4"
    limits = f"first_byte_timeout_s: 0.4, timeout_s: 1.5, options: {{{steps}}}"
    found: dict[str, list[str]] = {"providers": [], "models": [], "routes": []}
    for name in names:
        url = urls.get(name, urls["scripted"])
        found["providers"].append(f"{{name: {name}, kind: openai_compatible, base_url: '{url}', credentials: []}}")
        found["models"].append(f"{{name: m-{name}, provider: {name}, upstream: {name}}}")
        targets = f"[{{model: m-{name}, {limits}}}, {{model: good}}]"
        found["routes"].append(f"{{name: {name}, strategy: priority, targets: {targets}}}")
    found["providers"].append(f"{{name: good, kind: openai_compatible, base_url: '{good}', credentials: []}}")
    found["models"].append("{name: good, provider: good, upstream: good}")
    found["workspaces"] = ["{name: acme, on_unpriced: allow, keys: [{name: web, secret: {env: KEY}}]}"]
    text = "".join(f"{part}:\n" + "".join(f"  - {line}\n" for line in lines) for part, lines in found.items())
    return f"version: 1\n{text}"


@pytest.fixture(scope="module")
def referee() -> Iterator[Upstream]:
    with Upstream() as upstream:
        for name, fields in {**SCRIPTS, **AFTER}.items():
            upstream.for_model(name, **fields)
        yield upstream


@pytest.fixture(scope="module")
def faulty(referee: Upstream) -> Iterator[Installation]:
    with refusing() as refuses, unconnectable() as hangs, Installation() as installation:
        urls = {"scripted": referee.url, "refuse": refuses, "hang-accept": hangs}
        installation.apply(configuration(urls, referee.url), KEY=KEY)
        yield installation.start()


async def ask(client: httpx.AsyncClient, model: str, *, stream: bool) -> tuple[int, str]:
    """(status, the answer as it came)."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "go"}]}
    found = b""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        try:
            async for chunk in answer.aiter_raw():
                found += chunk
        except httpx.RemoteProtocolError:
            found += b"<cut>"
    return answer.status_code, found.decode()


async def many(installation: Installation, model: str, *, stream: bool) -> list[tuple[int, str]]:
    gate = asyncio.Semaphore(AT_ONCE)
    headers = {"authorization": f"Bearer {KEY}"}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(
        base_url=installation.url, headers=headers, timeout=30, limits=limits, trust_env=False
    ) as client:

        async def one() -> tuple[int, str]:
            async with gate:
                return await ask(client, model, stream=stream)

        return await asyncio.gather(*(one() for _ in range(CALLS)))


def said(answer: str, *, stream: bool) -> tuple[str, list[str]]:
    """(the text, the finish reasons) of an answer in OpenAI's form."""
    if not stream:
        choice = json.loads(answer)["choices"][0]
        return choice["message"]["content"], [choice["finish_reason"]]
    chunks = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text.strip(), [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


def is_complete(status: int, answer: str, *, stream: bool) -> bool:
    if status != 200 or (stream and not answer.endswith("data: [DONE]\n\n")):
        return False
    return said(answer, stream=stream) == (WORDS, ["stop"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE)
async def test_a_fault_before_the_first_token_is_never_felt(faulty: Installation, fault: str, stream: bool) -> None:
    answers = await many(faulty, fault, stream=stream)
    right = sum(is_complete(status, answer, stream=stream) for status, answer in answers)
    assert right >= SHARE * CALLS, Counter((status, answer[-200:]) for status, answer in answers).most_common(3)


@pytest.mark.parametrize("fault", AFTER)
async def test_a_whole_answer_that_breaks_anywhere_was_not_delivered_so_another_target_answers(
    faulty: Installation, fault: str
) -> None:
    answers = await many(faulty, fault, stream=False)
    right = sum(is_complete(status, answer, stream=False) for status, answer in answers)
    assert right >= SHARE * CALLS, Counter((status, answer[-200:]) for status, answer in answers).most_common(3)


@pytest.mark.parametrize("fault", AFTER)
async def test_a_stream_that_breaks_after_its_first_token_ends_in_an_error_and_never_looks_complete(
    faulty: Installation, fault: str
) -> None:
    answers = await many(faulty, fault, stream=True)
    for status, answer in answers:
        assert status == 200
        if is_complete(status, answer, stream=True):
            continue  # its circuit was open, so the other target gave the whole answer
        text, finishes = said(answer, stream=True)
        assert WORDS.startswith(text)
        assert '"error"' in answer
        assert "[DONE]" not in answer
        assert finishes == []


def test_every_call_has_a_record_and_no_request_on_the_wire_is_missing_from_it(
    faulty: Installation, referee: Upstream
) -> None:
    """Runs after the others in this module or alone; both sides count what they saw until now."""
    referee.meter.clear()
    before = len(records(faulty))
    with httpx.Client(base_url=faulty.url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False) as client:
        for name in (*BEFORE, *AFTER):
            for stream in (False, True):
                body = {"model": name, "stream": stream, "messages": [{"role": "user", "content": "go"}]}
                with client.stream("POST", "/v1/chat/completions", json=body, timeout=30) as answer:
                    for _ in answer.iter_raw():
                        pass
    found = records(faulty)
    newest = found[: len(found) - before]
    unreached = {"m-refuse", "m-hang-accept"}
    sent = [each["model"] for call in newest for each in call["attempts"] if each["model"] not in unreached]
    assert len(newest) == 2 * len((*BEFORE, *AFTER))
    assert Counter(name.removeprefix("m-") for name in sent) == Counter(r.model for r in referee.meter.readings)


def records(installation: Installation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in installation.manage("calls", "--jsonl").stdout.splitlines()]
