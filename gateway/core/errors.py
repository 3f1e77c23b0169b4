"""Every way in which a call can end without an answer, drawn as a tree.

GatewayError                       status, code, type, message, hint, param, headers
├── Refused                        the caller or the configuration; nothing was sent
│   ├── InvalidRequest    400      invalid_request, invalid_json, missing_inputs
│   │   └── Unsupported   400      unsupported: no target can do what the field asks
│   ├── NotFound          404      model_not_found, prompt_not_found, not_found
│   ├── Unauthenticated   401      invalid_api_key, expired_api_key, revoked_api_key
│   ├── Forbidden         403      model_not_allowed, ip_not_allowed, user_blocked, guardrail_blocked, redaction_blocked
│   ├── TooLarge          413      request_too_large
│   ├── RateLimited       429      rate_limit_exceeded
│   ├── BudgetExceeded    429      budget_exceeded
│   ├── PriceUnknown      400      price_unknown
│   └── Unavailable       503      budget_unavailable, overloaded, shutting_down
├── UpstreamError                  one attempt failed; routing decides what follows
│   ├── UpstreamRejected           the provider's own 4xx: passed on, not retried
│   ├── UpstreamUnavailable        connect, 408, 409, 429, 5xx, timeouts, nonsense: the next target may do
│   └── UpstreamBroken             the stream ended without the provider's end
├── AllTargetsFailed      502      all_targets_failed, with one reason for each target
└── DeadlinePassed        504      timeout
"""

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """The root. `message` is for the caller to read and holds no secret; `hint` says what to do."""

    status = 500
    code = "internal_error"
    type = "api_error"
    hint = "Try again; if it happens again, give the request id to the gateway's administrator."

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})
        if code is not None:
            self.code = code
        if hint is not None:
            self.hint = hint


class Refused(GatewayError):
    """Nothing was sent to a provider and nothing was charged."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"


class InvalidRequest(Refused):
    """The caller's mistake; `param` names the field."""

    hint = "Correct the request; the message names what is wrong."


class Unsupported(InvalidRequest):
    """The field asks for something that no target of this route can do."""

    code = "unsupported"
    hint = "Leave the field out, choose another model, or send drop_unsupported: true."


class NotFound(Refused):
    status = 404
    code = "not_found"
    hint = "Check the name; GET /v1/models lists what this key may call."


class Unauthenticated(Refused):
    status = 401
    code = "invalid_api_key"
    type = "authentication_error"
    hint = "Send a valid key as `Authorization: Bearer KEY`."


class Forbidden(Refused):
    status = 403
    code = "model_not_allowed"
    type = "permission_error"
    hint = "Ask an admin of your workspace."


class TooLarge(Refused):
    status = 413
    code = "request_too_large"
    hint = "Send a smaller request, or ask the gateway's administrator to raise MAX_BODY_BYTES."


class RateLimited(Refused):
    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"
    hint = "Wait as long as retry-after says, then try again."


class BudgetExceeded(Refused):
    status = 429
    code = "budget_exceeded"
    type = "insufficient_quota"
    hint = "Wait for the period to end, or ask an admin of your workspace to raise this budget."


class PriceUnknown(Refused):
    code = "price_unknown"
    hint = "Give the model a price in the configuration, or let the workspace allow unpriced models."


class Unavailable(Refused):
    """The gateway can't take this call now. Say when to come back with a retry-after header."""

    status = 503
    code = "overloaded"
    type = "service_unavailable"
    hint = "Try again after as many seconds as retry-after says."


class UpstreamError(GatewayError):
    """One attempt failed at a provider.

    kind         connect, timeout, rate_limit, server_error, bad_answer, auth, rejected, context_too_long,
                 content_refused: what a route's fall_back_on names
    status       the provider's status, or 502 where there was none
    body         the provider's error object, in OpenAI's shape {"message", "type", "param", "code", …}: its fields
                 become this error's
    retry_after  seconds that the provider asked to wait, if it did
    sent         bytes may have reached the provider, so the attempt may cost something
    """

    status = 502
    code = "upstream_error"
    hint = "The provider refused or failed; its own message is above."

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        body: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.upstream_status = status
        self.body = body
        self.retry_after = retry_after
        self.sent = sent
        if status is not None:
            self.status = status
        if body:
            self.code = str(body.get("code") or self.code)
            self.type = str(body.get("type") or self.type)
            self.param = body.get("param")


class UpstreamRejected(UpstreamError):
    """The provider's own 4xx, e.g. a bad parameter: passed on with its status and message, not retried."""


class UpstreamUnavailable(UpstreamError):
    """The target can't answer now; another one may."""


class UpstreamBroken(UpstreamError):
    """A stream ended without the provider's own end, or held something unreadable."""


class AllTargetsFailed(GatewayError):
    status = 502
    code = "all_targets_failed"
    hint = "Try again later; the message holds each target's reason."


class DeadlinePassed(GatewayError):
    status = 504
    code = "timeout"
    type = "timeout_error"
    hint = "Give the call more time with `timeout`, or ask for a shorter answer."
