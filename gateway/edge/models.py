"""GET /v1/models: what this key may call."""

import msgspec

from gateway.configuration import Configuration
from gateway.core.call import Call
from gateway.core.errors import NotFound
from gateway.snapshot import RouteView
from tenants.stage import authenticate


def listing(call: Call, config: Configuration) -> bytes:
    """Every route and model that the call's key may name, in OpenAI's list shape."""
    caller = authenticate(call, config.tenants)
    names = (name for name in config.routes.routes if caller.models is None or name in caller.models)
    return msgspec.json.encode(
        {"object": "list", "data": [described(config.routes.routes[name], config) for name in sorted(names)]}
    )


def one(call: Call, config: Configuration, name: str) -> bytes:
    """One of them. Raises NotFound also for one that the key may not call."""
    caller = authenticate(call, config.tenants)
    route = config.routes.routes.get(name)
    if route is None or (caller.models is not None and name not in caller.models):
        raise NotFound(f"The model {name!r} does not exist.", code="model_not_found", param="model")
    return msgspec.json.encode(described(route, config))


def described(route: RouteView, config: Configuration) -> dict[str, object]:
    model = config.routes.models.get(route.name) if route.is_model else None
    described: dict[str, object] = {
        "id": route.name,
        "object": "model",
        "created": 0,
        "owned_by": model.provider if model else "tollgate",
    }
    if model and model.targets:
        described["max_input_tokens"] = model.targets[0].context_tokens
        described["max_output_tokens"] = model.targets[0].max_output_tokens
        described["mode"] = model.kind
    return described
