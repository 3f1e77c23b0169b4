"""The live page's socket: each person sees the calls of their own workspaces, for as long as they may."""

import asyncio

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from audit.record import Record
from gateway.consumers.calls import NOT_ALLOWED, CallsConsumer
from gateway.telemetry.tail import Tail
from tenants.models import Member
from tests import rows

pytestmark = pytest.mark.django_db(transaction=True)


class Page:
    """A page that somebody has open."""

    def __init__(self, user) -> None:
        self.tail = Tail()
        consumer = type("Consumer", (CallsConsumer,), {"tail": self.tail})
        self.socket = WebsocketCommunicator(consumer.as_asgi(), "/ws/calls/")
        self.socket.scope["user"] = user

    async def __aenter__(self) -> "Page":
        assert (await self.socket.connect())[0]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.socket.disconnect()

    async def watched(self) -> None:
        while not self.tail.watchers:
            await asyncio.sleep(0.01)

    async def tell(self, workspace, call_id: str, **fields) -> None:
        made = Record(call_id=call_id, at_us=1, workspace_id=str(workspace.pk), workspace=workspace.name, **fields)
        await asyncio.to_thread(self.tail.tell, [made])

    async def ids(self) -> list[str]:
        return [call["id"] for call in (await self.socket.receive_json_from(timeout=5))["calls"]]


@database_sync_to_async
def two_tenants():
    acme, umbra = rows.tenant("acme"), rows.tenant("umbra")
    return acme, umbra, acme.person("viewer"), rows.superuser()


async def test_a_member_sees_the_calls_of_the_own_workspace_and_no_others() -> None:
    acme, umbra, member, _ = await two_tenants()
    async with Page(member) as page:
        await page.watched()
        await page.tell(umbra.workspace, "theirs")
        await page.tell(acme.workspace, "ours")
        assert await page.ids() == ["ours"]


async def test_someone_above_all_workspaces_sees_all_also_what_belongs_to_none() -> None:
    acme, umbra, _, root = await two_tenants()
    nobody = type("Nobody", (), {"pk": "", "name": ""})
    async with Page(root) as page:
        await page.watched()
        for workspace in (acme.workspace, umbra.workspace, nobody):
            await page.tell(workspace, f"of {workspace.name}")
        heard: list[str] = []
        while len(heard) < 3:
            heard += await page.ids()
        assert heard == ["of acme", "of umbra", "of "]


async def test_only_what_was_asked_for_is_shown_and_nonsense_changes_nothing() -> None:
    acme, _, member, _ = await two_tenants()
    async with Page(member) as page:
        await page.watched()
        await page.socket.send_json_to({"model": "small", "outcome": "failed", "workspace_id": "2", "key": 7})
        for nonsense in ("[1]", "{", '"x"', "null"):
            await page.socket.send_to(text_data=nonsense)
        await page.socket.send_to(bytes_data=b"\xff")
        await asyncio.sleep(0.05)
        await page.tell(acme.workspace, "other model", model="large", outcome="failed")
        await page.tell(acme.workspace, "other end", model="small", outcome="answered")
        await page.tell(acme.workspace, "fits", model="small", outcome="failed")
        assert await page.ids() == ["fits"]


async def test_who_is_not_logged_in_is_told_nothing() -> None:
    async with Page(AnonymousUser()) as page:
        output = await page.socket.receive_output(timeout=5)
        assert (output["type"], output["code"]) == ("websocket.close", NOT_ALLOWED)


async def test_a_role_that_is_taken_away_ends_what_its_holder_sees() -> None:
    acme, _, member, _ = await two_tenants()
    async with Page(member) as page:
        await page.watched()
        await page.tell(acme.workspace, "before")
        assert await page.ids() == ["before"]
        await database_sync_to_async(lambda: Member.objects.get(user=member).delete())()
        output = await page.socket.receive_output(timeout=5)
        assert (output["type"], output["code"]) == ("websocket.close", NOT_ALLOWED)


async def test_a_page_that_is_closed_leaves_no_watcher_behind() -> None:
    _, _, member, _ = await two_tenants()
    page = Page(member)
    async with page:
        await page.watched()
    for _ in range(100):
        if not page.tail.watchers:
            break
        await asyncio.sleep(0.01)
    assert page.tail.watchers == set()
