"""A log line is one JSON object and holds no secret."""

import asyncio
import io
import json
import logging
from collections.abc import Callable

import pytest
from django.test import RequestFactory

from audit.snapshot import AuditSnapshot
from audit.stage import recording
from gateway.core.call import Call
from gateway.edge.chat import Chat
from gateway.telemetry.logs import HIDDEN, logging_config, scrub
from gateway.telemetry.sampling import Trace


@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcdefgh12345678", "tg_FPwZ5mY-fpMeQsIE85Pm", "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefgh1234567890"],
)
def test_secrets_are_hidden_wherever_they_stand(secret: str) -> None:
    assert scrub(f"calling with {secret} failed") == f"calling with {HIDDEN} failed"
    assert secret not in scrub(f"Authorization: Bearer {secret}")
    assert secret not in scrub(json.dumps({"api_key": secret}))


def test_plain_text_stays_as_it_is() -> None:
    text = "call 01a1fd5c-d98e-783d-9ceb-484da4a614a5 of acme/web was answered by gpt-4o-mini"
    assert scrub(text) == text


@pytest.mark.parametrize(
    "person",
    [
        "ann.o-hara+x@mail.example.com",
        "+27 82 555 0182",
        "+1 (415) 555-0132",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
    ],
)
def test_people_are_hidden_too(person: str) -> None:
    assert scrub(f"no route for {person}: refused") == f"no route for {HIDDEN}: refused"


def lines_of(write: Callable[[logging.Logger], None]) -> list[str]:
    """What the lines that are written look like on standard error."""
    logger = logging.getLogger("tollgate.test")
    handler = logging.StreamHandler(stream := io.StringIO())
    config = logging_config("INFO")["formatters"]["json"]
    handler.setFormatter(config["()"](foreign_pre_chain=config["foreign_pre_chain"], processors=config["processors"]))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        write(logger)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    return stream.getvalue().splitlines()


def test_a_message_with_line_breaks_and_controls_is_one_json_line() -> None:
    text = 'a\r\n{"level": "forged"}\x1b[31m\x00'
    lines = lines_of(lambda logger: logger.warning('user "%s" failed', text, extra={"call_id": "1"}))
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["call_id"], told["level"], told["logger"]) == ("1", "warning", "tollgate.test")
    assert "\x1b" not in lines[0]


async def test_a_line_that_is_written_while_a_call_is_answered_names_it_and_its_trace() -> None:
    trace = Trace(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0, is_sampled=True)
    call = Call(id="call-1", form=Chat(), body={}, trace=trace)

    async def answered() -> list[str]:
        async with recording(call, AuditSnapshot()):
            return await asyncio.to_thread(lines_of, lambda logger: logger.warning("estimate_exceeded"))

    [line] = await asyncio.create_task(answered())
    told = json.loads(line)
    assert (told["call_id"], told["trace_id"], told["trace_sampled"]) == ("call-1", trace.id, True)
    [outside] = lines_of(lambda logger: logger.warning("nothing runs"))
    assert not {"call_id", "trace_id"} & set(json.loads(outside))


def test_a_line_of_a_pages_request_names_it_without_what_was_searched_for() -> None:
    request = RequestFactory().get("/admin/audit/callrecord/?user=canary", headers={"x-request-id": "r-1"})
    [line] = lines_of(lambda logger: logger.warning("Not Found: %s", request.path, extra={"request": request}))
    told = json.loads(line)
    assert (told["request"], told["request_id"]) == ("GET /admin/audit/callrecord/", "r-1")
    assert "canary" not in line
