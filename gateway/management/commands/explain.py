"""Where would this call go? A dry run through the configuration as it is saved now."""

import json
import uuid
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import prompts.stage
from gateway.compiler import compile_configuration
from gateway.configuration import Configuration, Services
from gateway.core.call import Call
from gateway.core.errors import GatewayError
from gateway.core.money import dollars
from gateway.edge.app import fill
from gateway.edge.endpoints import FORMS
from gateway.routing import stage
from gateway.routing.send import Upstream
from tenants.snapshot import KeyView


class Command(BaseCommand):
    help = "Show which targets a call would be tried at, in which order, and why others are left out. Sends nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", required=True, help="the workspace's name")
        parser.add_argument("--key", default="", help="the API key's name (default: the workspace's first)")
        parser.add_argument("--model", default="", help="the route or model that the call asks for")
        parser.add_argument("--message", default="Hello!", help="the user's message (default: %(default)s)")
        parser.add_argument("--user", default="", help="the end user")
        parser.add_argument("--stream", action="store_true", help="as a streamed call")
        parser.add_argument("--body", type=Path, help="a file with the call's whole JSON body, call controls included")
        parser.add_argument("--path", default="/v1/chat/completions", help="the endpoint (default: %(default)s)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    def handle(self, *, workspace: str, key: str, **options: Any) -> None:
        config = compile_configuration(Services(upstream=Upstream()), revision=0)
        call = call_of(options)
        view = key_of(config, workspace, key)
        call.caller = view.caller
        try:
            prompts.stage.render(call, config.prompts)
            stage.choose(call, config.routes)
        except GatewayError as error:
            raise CommandError(f"{error.status} {error.code}: {error.message} {error.hint}") from None
        found = explained(call, config)
        if options["as_json"]:
            self.stdout.write(json.dumps(found, indent=2))
            return
        self.stdout.write(
            f"{found['asked']} → route {found['route']} ({found['strategy']}), as {workspace}/{found['key']}"
        )
        for number, line in enumerate(found["targets"], start=1):
            cost = "no price known" if line["most_usd"] is None else f"at most {line['most_usd']} USD"
            self.stdout.write(f"  {number}. {line['model']} at {line['provider']}, {cost}")
        if (shadow := found["shadow"]) is not None:
            self.stdout.write(
                f"  +  {shadow['model']} gets a copy of {shadow['share_percent']:g} % of the calls, "
                f"for at most {shadow['daily_usd']} USD a day"
            )
        for line in found["left_out"]:
            self.stdout.write(f"  –  {line['model']} at {line['provider']}: {line['why']}")


def call_of(options: dict[str, Any]) -> Call:
    """The call that the options describe. Raises CommandError."""
    form = FORMS.get(options["path"])
    if form is None:
        raise CommandError(f"There is no endpoint {options['path']}; there are {', '.join(FORMS)}.")
    if options["body"] is not None:
        try:
            body = json.loads(options["body"].read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['body']}: {error}") from None
    else:
        body = {"messages": [{"role": "user", "content": options["message"]}]}
    body |= {"model": options["model"]} if options["model"] else {}
    body |= {"user": options["user"]} if options["user"] else {}
    body |= {"stream": True} if options["stream"] else {}
    call = Call(id=f"explain-{uuid.uuid4()}", form=form, body={})
    try:
        fill(call, body)
    except GatewayError as error:
        raise CommandError(f"{error.message} {error.hint}") from None
    return call


def key_of(config: Configuration, workspace: str, name: str) -> KeyView:
    """A usable key of the workspace. Raises CommandError."""
    found = [view for view in config.tenants.keys.values() if view.caller.workspace == workspace and not view.revoked]
    for view in sorted(found, key=lambda view: view.caller.key):
        if not name or view.caller.key == name:
            return view
    names = ", ".join(sorted(view.caller.key for view in found)) or "none"
    raise CommandError(f"Workspace {workspace!r} has no usable key {name!r}. It has {names}.")


def explained(call: Call, config: Configuration) -> dict[str, Any]:
    """What was chosen, as the command prints it. Money as decimal strings."""
    route = config.routes.routes[call.route]
    costs = config.routes.costs.of(call, call.candidates)
    return {
        "asked": call.model,
        "route": call.route,
        "strategy": route.strategy,
        "key": call.caller.key if call.caller is not None else None,
        "targets": [
            {
                "model": target.model,
                "provider": target.provider,
                "upstream": target.upstream,
                "most_usd": None if cost is None else dollars(cost),
            }
            for target, cost in zip(call.candidates, costs, strict=True)
        ],
        "shadow": None
        if route.shadow is None
        else {
            "model": route.shadow.model,
            "share_percent": round(route.shadow.share * 100, 3),
            "daily_usd": dollars(route.shadow.daily_nanos),
        },
        "left_out": [
            {"model": line["model"], "provider": line["provider"], "why": line["why"]}
            for line in call.decision
            if line["state"] == "left out"
        ],
    }
