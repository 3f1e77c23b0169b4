"""The part of the schema that is about words: prompts, channels and webhooks, suites; and what all parts share."""

from evals.scorers import KINDS as ASSERTIONS
from gateway.services.configuration import rules
from gateway.services.configuration.kinds import Checked, Choice, Flag, Free, Name, Number, SecretText, Text, Whole
from gateway.services.configuration.records import UNTOUCHED, Field, ListOf, MapOf, Record
from prompts.models import Webhook

ROLES = ("system", "developer", "user", "assistant", "tool")
URL = Text(longest=500)
WORDS = ListOf(Text(longest=200, shortest=1))
ENABLED = Field(Flag(), True, "false: kept, but not used")

PROMPT_MESSAGE = Record(
    "a message",
    {
        "role": Field(Choice(ROLES)),
        "content": Field(Checked(Free(None), rules.content), ""),
        "name": Field(Text(longest=64, shortest=1), None),
        "tool_calls": Field(ListOf(Free()), None),
        "tool_call_id": Field(Text(longest=200, shortest=1), None),
    },
    is_open=True,
)

VERSION = Record(
    "a prompt's version",
    {
        "message": Field(Text(longest=300), "", "what changed, and why"),
        "route": Field(Name(120), None, "a route or model; left out: the caller's `model`"),
        "messages": Field(ListOf(PROMPT_MESSAGE, shortest=1), help="with {{inputs}}"),
        "parameters": Field(Free(), {}, "temperature, max_tokens and so on"),
        "response_format": Field(Free(), None),
        "tools": Field(ListOf(Free()), None),
        "input_schema": Field(Free(), {}, "a JSON Schema of the inputs: types, lengths, defaults"),
    },
)

PROMPT = Record(
    "a prompt",
    {
        "name": Field(Name(120), help="what callers put into `prompt`"),
        "description": Field(Text(longest=500), ""),
        "versions": Field(
            ListOf(VERSION), UNTOUCHED, "the first is number 1; versions never change, new ones are appended"
        ),
        "channels": Field(MapOf(Whole(least=1), Name(longest=40)), UNTOUCHED, "which version each channel serves"),
    },
)

ASSERTION = Record(
    "an assertion",
    {
        "kind": Field(Choice(ASSERTIONS)),
        "value": Field(Free(None), None, "what to compare with; its form depends on the kind"),
        "critical": Field(Flag(), False, "one failure fails the gate"),
        "weight": Field(Number(least=0, most=1000), 1.0),
        "threshold": Field(Number(least=0, most=1_000_000), None, "for kinds that give a score"),
        "options": Field(Free(), {}),
    },
    is_sparse=True,
)

CASE = Record(
    "a case",
    {
        "name": Field(Text(longest=120, shortest=1)),
        "inputs": Field(Free(), {}, "for the prompt's variables"),
        "messages": Field(ListOf(PROMPT_MESSAGE), None, "in place of a prompt, or appended to it"),
        "expected": Field(Text(longest=100_000), ""),
        "assertions": Field(ListOf(ASSERTION, shortest=1), help="what must hold of the answer"),
        "tags": Field(WORDS, []),
    },
)

GATE = Record(
    "a gate",
    {
        "min_pass_rate": Field(Number(places=6), None, "share of assertions, 0 to 1; left out: all"),
        "max_drop": Field(
            Number(places=6), None, "so much worse than its baseline it may be, surely; left out: unasked"
        ),
    },
)

SUITE = Record(
    "a suite",
    {
        "name": Field(Text(longest=120, shortest=1)),
        "prompt": Field(Name(120), None, "the prompt it is about"),
        "route": Field(Name(120), None, "or the route, without a prompt"),
        "cases": Field(ListOf(CASE, same_by=("name",)), UNTOUCHED),
        "gate": Field(GATE, None, "when it passes"),
    },
)

CHANNEL = Record(
    "a channel's rules",
    {
        "name": Field(Name(40), help="production, staging, or one of your own"),
        "protected": Field(Flag(), False, "only approved versions are served here"),
        "required_approvals": Field(Whole(least=1, most=5), 1, "by how many people"),
        "allow_self_approval": Field(Flag(), False, "a version's author may approve it"),
        "required_suites": Field(WORDS, [], "suites whose newest run must have passed for the version"),
        "publishers": Field(WORDS, [], "user names; empty: everybody whose role lets them publish"),
        "reviewers": Field(WORDS, [], "user names; empty: everybody whose role lets them review"),
    },
)

WEBHOOK = Record(
    "a webhook",
    {
        "url": Field(Checked(URL, rules.webhook_url), help="where prompts tell what happens to them"),
        "events": Field(ListOf(Choice(tuple(name for name, _ in Webhook.EVENTS))), [], "empty: all of them"),
        "secret": Field(SecretText(), None, "signs each message; left out: the stored one stays"),
        "enabled": ENABLED,
    },
    check=rules.webhook,
)
