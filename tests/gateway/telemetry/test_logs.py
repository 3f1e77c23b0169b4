"""A log line is one JSON object and holds no secret."""

import io
import json
import logging
import logging.config

import pytest

from gateway.telemetry.logs import HIDDEN, logging_config, scrub


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


def test_a_message_with_line_breaks_and_controls_is_one_json_line() -> None:
    logger = logging.getLogger("tollgate.test")
    handler = logging.StreamHandler(stream := io.StringIO())
    config = logging_config("INFO")["formatters"]["json"]
    handler.setFormatter(config["()"](foreign_pre_chain=config["foreign_pre_chain"], processors=config["processors"]))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning('user "%s" failed', 'a\r\n{"level": "forged"}\x1b[31m\x00', extra={"call_id": "1"})
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["call_id"], told["level"], told["logger"]) == ("1", "warning", "tollgate.test")
    assert "\x1b" not in lines[0]
