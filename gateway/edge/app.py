"""/v1 and its neighbours as a plain ASGI app: nothing of Django runs here."""

import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import msgspec

from audit.stage import refuse
from gateway.configuration import Configuration
from gateway.core.call import Call
from gateway.core.errors import GatewayError, InvalidRequest, NotFound, Unavailable
from gateway.core.forms import Form
from gateway.core.holder import Holder
from gateway.core.ids import new_id
from gateway.core.running import names_of
from gateway.edge import controls, feedback, models, shapes
from gateway.edge.answer import reply
from gateway.edge.audio import MULTIPART_FORMS
from gateway.edge.overload import MOST_CALLS, Overload
from gateway.edge.reply import JSON, Send, send_error, send_whole
from gateway.edge.request import Gone, Receive, Scope, body_of, headers_of, json_object, peer_of, secret_of
from gateway.edge.uploads import form_of
from gateway.shadow import Shadows
from prompts.stage import MODEL_PREFIX
from tenants.stage import authenticate, find_key

log = logging.getLogger(__name__)


class InternalError(GatewayError):
    """A mistake of ours. Its text stays in the log."""


class MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"
    hint = "See the documentation of this endpoint."


class Edge:
    """HTTP ⇄ Call.

    current       the configuration that a call takes when it comes in
    forms         endpoint paths and the form that is spoken there
    plain         other paths: a function that gives (status, content type, body), e.g. for /healthz
    trusted_hops  how many proxies of ours stand in front
    most_calls    how many calls are under way at once at most
    """

    def __init__(
        self,
        current: Holder[Configuration | None],
        *,
        forms: Mapping[str, Form],
        plain: Mapping[str, Callable[[], tuple[int, str, bytes]]],
        most_bytes: int,
        trusted_hops: int = 0,
        most_calls: int = MOST_CALLS,
    ) -> None:
        self.current, self.forms, self.plain = current, dict(forms), dict(plain)
        self.most_bytes, self.trusted_hops = most_bytes, trusted_hops
        self.keep_feedback: feedback.Keep | None = None  # what POST /v1/feedback hands its opinions to
        self.in_flight = 0
        self.draining = False
        self.overload = Overload(most_calls)
        self.shadows = Shadows(lambda: self.overload.is_busy)
        self._error_form = self.forms["/v1/chat/completions"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if (page := self.plain.get(path)) is not None:
            status, kind, body = page()
            await send_whole(send, status, [(b"content-type", kind.encode()), (b"cache-control", b"no-store")], body)
            return
        call = Call(id=new_id(), form=self.forms.get(path, self._error_form), body={})
        self.in_flight += 1
        try:
            await self.handle(call, scope, receive, send)
        except Gone:
            return
        except GatewayError as error:
            await send_error(send, call, error)
        except Exception:
            log.exception("call %s failed by our own mistake", call.id, extra=names_of(call))
            await send_error(send, call, InternalError("The gateway made a mistake."))
        finally:
            self.in_flight -= 1

    async def handle(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell what is asked, and answer it. Raises GatewayError for what never became a call."""
        config = self.current.current
        if config is None:
            raise Unavailable("The gateway is starting.", headers={"retry-after": "1"})
        headers = headers_of(scope)
        call.secret, call.headers = secret_of(headers), headers
        call.peer = peer_of(scope, headers, self.trusted_hops)
        path = scope["path"]
        prompt = prompt_in(path)
        if path in self.forms or prompt:
            allow(scope, "POST")
            await self.take(call, config, receive, send, prompt)
        elif path == "/v1/models" or path.startswith("/v1/models/"):
            allow(scope, "GET", "HEAD")
            name = path[len("/v1/models/") :]
            body = models.one(call, config, name) if name else models.listing(call, config)
            await send_whole(send, 200, [JSON, (b"x-request-id", call.id.encode())], body)
        elif path == "/v1/feedback" and self.keep_feedback is not None:
            allow(scope, "POST")
            call.caller = authenticate(call, config.tenants)
            opinion = json_object(await body_of(receive, headers, self.most_bytes))
            body = await feedback.give(call, opinion, self.keep_feedback)
            await send_whole(send, 201, [JSON, (b"x-request-id", call.id.encode())], body)
        else:
            raise NotFound(f"There is no endpoint {path}.", hint="See the documentation for the endpoints under /v1.")

    async def take(self, call: Call, config: Configuration, receive: Receive, send: Send, prompt: str = "") -> None:
        """Read the call's body and answer it. A body whose key opens nothing is not read at all.

        `prompt`: the prompt that the path names, if it names one.
        """
        key = call.key = find_key(call.secret, config.tenants)
        if key is None:
            await reply(call, config, receive, send)  # refused on the path, so that it has its record too
            return
        async with placed(self, call, config):
            try:
                fields = await self.fields(call, receive)
                fill(call, with_prompt(fields, prompt) if prompt else fields)
            except GatewayError as error:
                call.refusal = error
            await reply(call, config, receive, send)

    async def fields(self, call: Call, receive: Receive) -> dict[str, Any]:
        """The body's fields: JSON, or multipart where the form takes recordings."""
        if call.form.name in MULTIPART_FORMS:
            fields, call.upload = await form_of(receive, call.headers, self.most_bytes)
            return fields
        return json_object(await body_of(receive, call.headers, self.most_bytes))


class placed:
    """One of the worker's places for a call whose key is known.

    Entering raises Unavailable where there is none, or where the process is to end; the call has its record then.
    Leaving begins the call's shadow.
    """

    __slots__ = ("call", "config", "edge")

    def __init__(self, edge: Edge, call: Call, config: Configuration) -> None:
        self.edge, self.call, self.config = edge, call, config

    async def __aenter__(self) -> None:
        call, config = self.call, self.config
        if self.edge.draining:
            await refuse(call, config.audit, shutting_down())
        workspaces = len(config.tenants.on_unavailable)
        priority = call.headers.get("x-tollgate-priority", "normal")
        try:
            await self.edge.overload.enter(call.key.caller.workspace_id, workspaces, priority)
        except Unavailable as error:
            await refuse(call, config.audit, error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.edge.overload.leave(self.call.key.caller.workspace_id)
        if self.call.shadow is not None:
            self.edge.shadows.follow(self.call, self.config)


def shutting_down() -> Unavailable:
    return Unavailable("The gateway is shutting down.", code="shutting_down", headers={"retry-after": "1"})


def allow(scope: Scope, *methods: str) -> None:
    """Raise MethodNotAllowed for any other method."""
    if scope["method"] not in methods:
        told = f"{scope['path']} takes {methods[0]}, not {scope['method']}."
        raise MethodNotAllowed(told, headers={"allow": ", ".join(methods)})


def prompt_in(path: str) -> str:
    """The prompt that /v1/prompts/{name}/complete names; "" for another path. A name may hold slashes."""
    if not path.startswith("/v1/prompts/") or not path.endswith("/complete"):
        return ""
    return path[len("/v1/prompts/") : -len("/complete")].strip("/")


def with_prompt(body: dict[str, Any], prompt: str) -> dict[str, Any]:
    """The body with the prompt that the path names. Raises InvalidRequest where the body names one too."""
    if body.get("prompt") is not None:
        raise InvalidRequest("The path names the prompt; leave it out of the body.", param="prompt")
    return {**body, "prompt": prompt}


def fill(call: Call, body: dict[str, Any]) -> None:
    """Put the parsed body into the call. Raises InvalidRequest, naming the field."""
    call.stream = read_flag(body, "stream")
    call.controls, call.body = controls.read(body, call.headers, call.form.name)
    model = call.body.get("model")
    if model is None and call.controls.prompt is None:
        raise InvalidRequest("The body must name a model.", param="model", hint="Send model, e.g. a route's name.")
    if model is not None and (not isinstance(model, str) or not model):
        raise InvalidRequest("model must be a string that names a route or a model.", param="model")
    call.model = model or ""
    asked = call.controls
    prompted = asked.prompt is not None or asked.inputs is not None or asked.channel is not None
    shapes.check(call.body, call.form.name, prompted=prompted or call.model.startswith(MODEL_PREFIX))
    options = call.body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequest("stream_options must be an object.", param="stream_options")
    call.include_usage = bool(options and options.get("include_usage"))


def read_flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidRequest(f"{name} must be true or false.", param=name)


def json_page(status: int, value: object) -> tuple[int, str, bytes]:
    return status, "application/json", msgspec.json.encode(value)
