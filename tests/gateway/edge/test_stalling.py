"""A client that takes nothing is hung up on."""

import asyncio

from gateway.core.call import Call, Delta
from gateway.edge import answer as edge_answer
from gateway.edge.chat import Chat


async def test_a_client_that_takes_nothing_is_hung_up_on_and_its_answer_closed(monkeypatch):
    monkeypatch.setattr(edge_answer, "KEEP_ALIVE_S", 0.02)
    monkeypatch.setattr(edge_answer, "STALL_S", 0.1)
    closed, sent = [], []

    async def deltas(call, config):
        try:
            for _ in range(10):
                yield Delta(raw=b"data: {}\n\n", form="chat", text="x")
        finally:
            closed.append(True)

    async def send(message):
        sent.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def receive():
        await asyncio.sleep(60)

    monkeypatch.setattr(edge_answer, "answer", deltas)
    call = Call(id="c", form=Chat(), body={}, stream=True)

    await asyncio.wait_for(edge_answer.reply(call, None, receive, send), 5)

    assert (closed, call.left) == ([True], True)
    assert sent == ["http.response.start", "http.response.body"]  # and no comment behind what is stuck
