"""Prompts with their versions and channels, suites with their cases, channels' rules, webhooks: rows ⇄ items."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils import timezone

from evals.models import Case, Suite
from gateway.services.configuration.items import Item, sorted_lists
from gateway.services.configuration.kinds import Secret
from gateway.services.configuration.rows import Plain, Rows, holds_secret, save, sealed
from prompts.models import Channel, Deployment, Prompt, PromptVersion, Webhook
from prompts.services.publishing import Words, point_channel, save_version
from tenants.history import current_actor


class Prompts(Plain):
    kind = "prompt"

    def read(self) -> Iterator[Item]:
        for row in Prompt.objects.select_related("workspace").order_by("workspace__name", "name"):
            gone = row.archived_at is not None
            parent = (row.workspace.name,)
            fields = {"description": row.description, "archived": gone}
            yield Item("prompt", (*parent, row.name), fields, parent, row=row, is_gone=gone)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, name = item.name
        row = row or Prompt(workspace=rows.find("workspace", workspace), name=name)
        return save(row, description=item.fields["description"], archived_at=None)

    def remove(self, row: Any) -> None:
        """Versions were served and stay; the prompt is archived."""
        save(row, archived_at=timezone.now())


class Versions(Plain):
    """Versions never change: they are only added, and never removed."""

    kind = "version"

    def read(self) -> Iterator[Item]:
        found = PromptVersion.objects.select_related("prompt__workspace")
        for row in found.order_by("prompt__workspace__name", "prompt__name", "number"):
            fields = {
                "message": row.message,
                "route": row.route or None,
                "messages": row.messages,
                "parameters": row.parameters,
                "response_format": row.response_format,
                "tools": row.tools,
                "input_schema": row.input_schema,
            }
            parent = (row.prompt.workspace.name, row.prompt.name)
            yield Item("version", (*parent, str(row.number)), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        fields = item.fields
        words = Words(
            messages=fields["messages"],
            route=fields["route"] or "",
            parameters=fields["parameters"],
            response_format=fields["response_format"],
            tools=fields["tools"],
            input_schema=fields["input_schema"],
        )
        return save_version(prompt=rows.find("prompt", *item.parent), words=words, message=fields["message"])


class Channels(Plain):
    """What a channel serves now: its newest deployment. A withdrawn channel is none."""

    kind = "channel"

    def read(self) -> Iterator[Item]:
        newer = Deployment.objects.filter(
            prompt=OuterRef("prompt"), channel=OuterRef("channel"), seq__gt=OuterRef("seq")
        )
        found = Deployment.objects.filter(~Exists(newer), version__isnull=False)
        found = found.select_related("prompt__workspace", "version")
        for row in found.order_by("prompt__workspace__name", "prompt__name", "channel"):
            parent = (row.prompt.workspace.name, row.prompt.name)
            number = row.version.number if row.version else 0
            yield Item("channel", (*parent, row.channel), {"version": number}, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        prompt = rows.find("prompt", *item.parent)
        version = rows.find("version", *item.parent, str(item.fields["version"]))
        return point_channel(prompt=prompt, channel=item.name[-1], version=version, actor=current_actor())

    def remove(self, row: Any) -> None:
        point_channel(prompt=row.prompt, channel=row.channel, version=None, actor=current_actor())


class Suites(Plain):
    kind = "suite"

    def read(self) -> Iterator[Item]:
        for row in Suite.objects.select_related("workspace").order_by("workspace__name", "name"):
            fields = {"prompt": row.prompt or None, "route": row.route or None, "gate": row.gate or None}
            parent = (row.workspace.name,)
            yield Item("suite", (*parent, row.name), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, name = item.name
        fields = item.fields
        return save(
            row or Suite(workspace=rows.find("workspace", workspace), name=name),
            prompt=fields["prompt"] or "",
            route=fields["route"] or "",
            gate=fields["gate"] or {},
        )


class Cases(Plain):
    kind = "case"

    def read(self) -> Iterator[Item]:
        found = Case.objects.select_related("suite__workspace")
        for row in found.order_by("suite__workspace__name", "suite__name", "position", "id"):
            fields = {
                "inputs": row.inputs,
                "messages": row.messages,
                "expected": row.expected,
                "assertions": row.assertions,
                "tags": row.tags,
            }
            parent = (row.suite.workspace.name, row.suite.name)
            yield Item("case", (*parent, row.name), fields, parent, row=row, position=row.position)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        row = row or Case(suite=rows.find("suite", *item.parent), name=item.name[-1])
        return save(row, **item.fields, position=item.position)


class ChannelRules(Plain):
    """What a version needs to be served on a channel. Put in place after what the file's prompts serve."""

    kind = "channel_rules"

    def read(self) -> Iterator[Item]:
        for row in Channel.objects.select_related("workspace").order_by("workspace__name", "name"):
            parent = (row.workspace.name,)
            fields = {
                "protected": row.is_protected,
                "required_approvals": row.required_approvals,
                "allow_self_approval": row.allow_self_approval,
                "required_suites": row.required_suites,
                "publishers": row.publishers,
                "reviewers": row.reviewers,
            }
            fields = sorted_lists(fields, "required_suites", "publishers", "reviewers")
            yield Item("channel_rules", (*parent, row.name), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, name = item.name
        fields = dict(item.fields)
        row = row or Channel(workspace=rows.find("workspace", workspace), name=name)
        return save(row, is_protected=fields.pop("protected"), **fields)


class Webhooks(Plain):
    kind = "webhook"

    def read(self) -> Iterator[Item]:
        for row in Webhook.objects.select_related("workspace").order_by("workspace__name", "url"):
            parent = (row.workspace.name,)
            fields = sorted_lists({"events": row.events, "enabled": row.is_enabled}, "events")
            yield Item("webhook", (*parent, row.url), fields, parent, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        workspace, url = item.name
        row = row or Webhook(workspace=rows.find("workspace", workspace), url=url)
        values = {"events": item.fields["events"], "is_enabled": item.fields["enabled"]}
        return save(row, **values, **sealed(row, item.secret))

    def has_secret(self, row: Any, secret: Secret) -> bool:
        return holds_secret(row, secret)
