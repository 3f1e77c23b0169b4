"""Logs: one JSON object a line on standard error, without secrets or people, safe for a terminal.

A line that is written while a call is answered names the call and its trace; one of a page, its request.
"""

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

from gateway.core.running import names_of, running

SECRETS = re.compile(
    r"(?i)(\bbearer\s+)[^\s\"']+|\b(?:sk|tg|pk|gsk|xai|AIza|AKIA|ghp|xox[abp])[-_][\w-]{8,}|\bAKIA[0-9A-Z]{12,}"
    r"|((?:api[-_]?key|secret|password|authorization)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+"
)
PEOPLE = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"  # e-mail
    r"|\+\d[\d ()-]{7,}\d"  # telephone
    r"|(?<![\w.-])\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}(?![\w-])"  # card
)
HIDDEN = "[hidden]"
Event = MutableMapping[str, Any]


def scrub(text: str) -> str:
    """The text without anything that looks like a secret, an address, a number of a telephone or a card."""
    return PEOPLE.sub(HIDDEN, SECRETS.sub(lambda found: f"{found.group(1) or found.group(2) or ''}{HIDDEN}", text))


def scrubbed(logger: Any, method: str, event: Event) -> Event:
    """A structlog processor: no value of the line holds a secret."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrub(value)
    return event


def named(logger: Any, method: str, event: Event) -> Event:
    """A structlog processor: the line says which call or which page's request it is of."""
    if (call := running.get()) is not None:
        for name, value in names_of(call).items():
            event.setdefault(name, value)
    request: Any = event.get("request")
    if hasattr(request, "path"):  # as it is, it would show what somebody searched for
        event["request"] = f"{getattr(request, 'method', '')} {request.path}"
        if request_id := getattr(request, "headers", {}).get("x-request-id", ""):
            event["request_id"] = request_id[:64]
    return event


SHARED = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def logging_config(level: str) -> dict[str, Any]:
    """Django's LOGGING setting. Every line is one JSON object, so nothing in it can pass for another line."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*SHARED, structlog.stdlib.ExtraAdder(), named],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    scrubbed,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"level": level, "handlers": [], "propagate": True},
            "django.server": {"level": level, "handlers": [], "propagate": True},
            "celery": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
        },
    }
