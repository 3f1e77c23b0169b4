"""A configuration in memory and calls through it, for the tests of routing."""

import itertools
import json
from contextlib import aclosing

from gateway.core.call import Call, Caller, Controls, Delta, Target
from gateway.edge.chat import Chat
from gateway.routing.send import Upstream as Client
from gateway.routing.stage import choose, opened
from gateway.snapshot import ModelView, RoutesSnapshot, RouteView, TargetView, Timeouts

QUICK = Timeouts(connect=0.3, first_byte=0.3, first_token=0.3, idle=0.3, total=10.0)
CALLER = Caller("w1", "acme", "k1", "web")
numbers = itertools.count()


def model(name: str, *urls: str, keys: tuple[str, ...] = ("sk-main",), **fields) -> ModelView:
    """A model at one provider with a credential for each of `keys`."""
    view = {"provider": f"p-{name}", "quality": None, "kind": "chat"}
    view |= {key: fields.pop(key) for key in list(fields) if key in view}
    targets = tuple(
        Target(name, view["provider"], "openai_compatible", url, name, credential=key, secret=key, **fields)
        for url in urls
        for key in keys
    )
    return ModelView(name, view["provider"], view["kind"], view["quality"], targets)


def config(*targets: ModelView | TargetView, client: Client | None = None, timeouts: Timeouts = QUICK, **route):
    """A snapshot with one route "chat" over these targets, each also a route of its own."""
    steps = tuple(each if isinstance(each, TargetView) else TargetView(each) for each in targets)
    models = {step.model.name: step.model for step in steps}
    routes = {name: RouteView(name, "priority", (TargetView(view),), is_model=True) for name, view in models.items()}
    routes["chat"] = RouteView("chat", route.pop("strategy", "priority"), steps, **route)
    return RoutesSnapshot(routes, models, timeouts=timeouts, upstream=client or Client())


def ask(
    name: str = "chat", *, stream: bool = False, text: str = "hello", caller: Caller | None = CALLER, **controls
) -> Call:
    body = {"model": name, "messages": [{"role": "user", "content": text}], "stream": stream}
    return Call(
        id=f"call-{next(numbers)}",
        form=Chat(),
        body=body,
        model=name,
        stream=stream,
        caller=caller,
        controls=Controls(**controls),
    )


async def answer(call: Call, routes: RoutesSnapshot) -> list[Delta]:
    """Carry the call through routing's two stages, as the pipeline does."""
    found = []
    choose(call, routes)
    async with opened(call, routes) as deltas:
        async for delta in deltas:
            call.note(delta)
            found.append(delta)
    return found


async def say(call: Call, routes: RoutesSnapshot) -> str:
    """The text of the answer."""
    return "".join(delta.text for delta in await answer(call, routes))


def script(**fields) -> str:
    """A user message that scripts the upstream."""
    return json.dumps({"upstream": fields})


__all__ = ["CALLER", "QUICK", "Client", "aclosing", "answer", "ask", "config", "model", "say", "script"]
