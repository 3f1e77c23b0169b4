"""Mistakes of ours reported to Sentry, where the operator has one and its library is installed."""

from typing import Any

from gateway.telemetry.logs import scrub

TOLD = ("call_id", "trace_id", "trace_sampled")  # of what a line of the log says besides its text


def start_reporting(dsn: str) -> None:
    """Report errors from now on: no bodies, no headers, no variables, no people, no query strings."""
    import sentry_sdk  # noqa: PLC0415 -- optional dependency: pip install tollgate[sentry]
    from sentry_sdk.integrations.django import DjangoIntegration  # noqa: PLC0415 -- optional dependency

    sentry_sdk.init(
        dsn=dsn,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(middleware_spans=False, signals_spans=False)],
        before_send=cleaned,
    )


def cleaned(event: Any, hint: Any) -> Any:
    """The report without its request and with secrets hidden, all the way down."""
    event.pop("request", None)
    event.pop("user", None)
    event["extra"] = {name: value for name, value in event.get("extra", {}).items() if name in TOLD}
    return hidden(event)


def hidden(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {name: hidden(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(item) for item in value]
    return value
