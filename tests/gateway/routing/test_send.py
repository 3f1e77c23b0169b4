"""The client that reaches providers, against an upstream that fails on command."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.core.errors import Unavailable, UpstreamUnavailable
from gateway.providers.base import Outgoing
from gateway.routing import pinned
from gateway.routing.https import SecureClient
from gateway.routing.send import LARGEST_ANSWER_BYTES, Upstream
from gateway.snapshot import Timeouts

SHORT = Timeouts(connect=0.15, first_byte=0.3, first_token=0.3, idle=0.2, total=20.0)
AMPLE = Timeouts()


@pytest.fixture(autouse=True, params=["our own sockets", "the client for https"])
async def through(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Both clients keep the same promises; the upstream speaks no TLS, so the second is asked for http:// too."""
    if request.param == "the client for https":

        def secure(place, connect_seconds, home):
            name, address, port = place
            return SecureClient(connect_seconds, (name.rpartition(":")[0], address, port))

        monkeypatch.setattr(pinned, "PlainClient", secure)
    made = []

    def make(self: Upstream, *args: object, **options: object) -> None:
        begin(self, *args, **options)
        self.home = asyncio.get_running_loop()
        made.append(self)

    begin = Upstream.__init__
    monkeypatch.setattr(Upstream, "__init__", make)
    yield request.param
    for each in made:
        each.close()
    await asyncio.sleep(0)


def asks(url: str, *, stream: bool = False, text: str = "hello", path: str = "/chat/completions") -> Outgoing:
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": "Bearer sk-1", "content-type": "application/json"}
    return Outgoing(f"{url}{path}", headers, json.dumps(body).encode())


async def listen(url: str, *, said: bool, timeouts: Timeouts = SHORT) -> None:
    async with Upstream().stream(asks(url, stream=True), timeouts) as answer:
        async for _ in answer:
            if said:
                answer.speaking()


async def failure(outgoing, timeouts=AMPLE):
    with pytest.raises(UpstreamUnavailable) as caught:
        await Upstream().send(outgoing, timeouts)
    return caught.value.kind, caught.value.sent


async def test_a_whole_answer_comes_with_its_status_headers_and_body(upstream):
    answer = await Upstream().send(asks(upstream.url), Timeouts())

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 12
    assert upstream.meter.readings[0].key == "sk-1"
    assert upstream.meter.readings[0].headers["accept-encoding"] == "identity"


async def test_fifty_calls_at_once_on_shared_connections_get_their_own_answers(upstream):
    client = Upstream()

    async def say(number: int) -> str:
        text = json.dumps({"upstream": {"text": f"number {number}", "delay_s": 0.01 * (number % 3)}})
        answer = await client.send(asks(upstream.url, text=text), Timeouts())
        return json.loads(answer.body)["choices"][0]["message"]["content"]

    for _ in range(3):
        assert await asyncio.gather(*map(say, range(50))) == [f"number {n}" for n in range(50)]


async def test_pieces_come_as_they_are_sent(upstream):
    upstream.always(tokens=3, token_delay_s=0.05)
    loop, seen = asyncio.get_running_loop(), []
    async with Upstream().stream(asks(upstream.url, stream=True), Timeouts()) as answer:
        async for piece in answer:
            answer.speaking()
            seen.append((loop.time(), piece))

    assert b"".join(piece for _, piece in seen).endswith(b"data: [DONE]\n\n")
    assert seen[-1][0] - seen[0][0] > 0.1  # not held back to the end


async def test_a_refused_connection_sent_nothing(refused_url):
    assert await failure(asks(refused_url)) == ("connect", False)


async def test_a_connection_that_never_opens_sent_nothing(unconnectable_url):
    assert await failure(asks(unconnectable_url), replace(AMPLE, connect=0.15)) == ("connect", False)


async def test_a_host_without_an_address_sent_nothing():
    assert await failure(asks("http://no-such-host.invalid/v1")) == ("connect", False)


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://2852039166/v1", "http://[fe80::1]/v1"])
async def test_metadata_addresses_are_never_called(url):
    assert await failure(asks(url)) == ("connect", False)


async def test_a_name_is_called_only_at_the_address_that_was_checked(upstream, monkeypatch):
    answers = [[("127.0.0.1", 0)], [("169.254.169.254", 0)]]

    def resolver(host, port, family, kind):
        if family == socket.AF_INET6:
            raise OSError
        return [(family, kind, 6, "", address) for address in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    client, outgoing = Upstream(), asks(f"http://provider.example:{upstream.port}/v1")
    assert (await client.send(outgoing, Timeouts())).status == 200
    origin = next(iter(client._clients.values()))
    origin.stale_at = 0.0
    assert (await client.send(outgoing, Timeouts())).status == 200  # the second look-up happens beside this call
    while origin._refreshing is not None:
        await asyncio.sleep(0.01)

    with pytest.raises(UpstreamUnavailable, match="may not be called"):
        await client.send(outgoing, Timeouts())
    assert answers == []


async def test_a_reset_before_the_answer_may_have_cost_something(upstream):
    upstream.always(fault="reset")
    assert await failure(asks(upstream.url)) == ("connect", True)


async def test_silence_before_the_answer_is_a_timeout(upstream):
    upstream.always(fault="hang")
    assert await failure(asks(upstream.url), SHORT) == ("timeout", True)


async def test_silence_within_a_whole_answer_lasts_no_longer_than_the_total(upstream):
    upstream.always(fault="hang", at=1)
    assert await failure(asks(upstream.url), replace(SHORT, total=0.4)) == ("timeout", True)


async def test_a_whole_answer_that_is_cut_is_a_bad_answer(upstream):
    upstream.always(fault="cut", at=1)
    assert await failure(asks(upstream.url)) == ("bad_answer", True)


async def test_a_redirect_is_not_followed(upstream, upstreams):
    [other] = upstreams(1)
    upstream.always(fault="redirect", location=other.url)
    assert await failure(asks(upstream.url)) == ("bad_answer", True)
    assert other.meter.requests == 0


async def test_a_compressed_answer_is_refused_unread(upstream):
    upstream.always(fault="gzip_bomb", size=5_000_000)
    assert await failure(asks(upstream.url)) == ("bad_answer", True)


async def test_an_answer_beyond_the_cap_is_refused(upstream):
    upstream.replay(200, "application/json", b"x" * (LARGEST_ANSWER_BYTES + 1))
    assert await failure(asks(upstream.url)) == ("bad_answer", True)


async def test_an_error_comes_with_its_body(upstream):
    upstream.always(fault="status", status=429, retry_after=7)
    answer = await Upstream().send(asks(upstream.url), Timeouts())
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert json.loads(answer.body)["error"]["message"] == "scripted 429"


@pytest.mark.parametrize(("at", "said"), [("first_token", False), (2, True)])
async def test_silence_within_a_stream_is_a_timeout(upstream, at, said):
    upstream.always(fault="hang", at=at)
    with pytest.raises(UpstreamUnavailable, match=r"longer than 0\.[23] s") as caught:
        await listen(upstream.url, said=said)
    assert caught.value.kind == "timeout"


async def test_our_own_slowness_is_not_the_providers_silence(upstream):
    async with Upstream().stream(asks(upstream.url, stream=True), SHORT) as answer:
        answer.speaking()
        await asyncio.sleep(0.5)
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("fault", ["reset", "cut"])
async def test_a_stream_that_breaks_off_says_so(upstream, fault):
    upstream.always(fault=fault, at=2)
    with pytest.raises(UpstreamUnavailable) as caught:
        await listen(upstream.url, said=True, timeouts=AMPLE)
    assert (caught.value.kind, caught.value.sent) == ("bad_answer", True)


@pytest.mark.parametrize("leave", ["leave", "cancel"])
async def test_leaving_a_stream_hangs_up(upstream, leave):
    upstream.always(token_delay_s=0.02, tokens=500)

    async def listen():
        async with Upstream().stream(asks(upstream.url, stream=True), Timeouts()) as answer:
            async for _ in answer:
                answer.speaking()
                if leave == "leave":
                    return

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.15)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.15)

    assert [(r.hung_up, r.output < 20) for r in upstream.meter.readings] == [(True, True)]


async def test_a_connection_that_the_provider_closed_meanwhile_is_not_an_error(upstream):
    client = Upstream()
    await client.send(asks(upstream.url), Timeouts())
    upstream.down()
    upstream.up()
    assert (await client.send(asks(upstream.url), Timeouts())).status == 200


async def test_a_proxy_in_the_environment_is_not_used(upstream, refused_url, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refused_url)
    assert (await Upstream().send(asks(upstream.url), Timeouts())).status == 200


async def test_a_provider_in_this_process_answers_through_the_same_two_calls():
    async def respond(outgoing):
        async def pieces():
            yield b"one"
            yield b"two"

        return 200, {"content-type": "text/plain"}, pieces()

    client = Upstream({"demo": respond})
    answer = await client.send(asks("demo:"), SHORT, "demo")
    assert (answer.status, answer.body) == (200, b"onetwo")


async def test_a_provider_in_this_process_is_watched_too():
    async def respond(outgoing):
        await asyncio.sleep(5)

    with pytest.raises(UpstreamUnavailable) as caught:
        await Upstream({"demo": respond}).send(asks("demo:"), SHORT, "demo")
    assert caught.value.kind == "timeout"


async def test_a_client_that_gives_up_by_itself_is_a_failed_connection_and_no_cancelled_call():
    async def gives_up():
        yield b"data: one\n\n"
        raise asyncio.CancelledError("Read was cancelled")

    async def respond(outgoing):
        return 200, {"content-type": "text/event-stream"}, gives_up()

    async with Upstream(in_process={"odd": respond}).stream(asks("http://x"), AMPLE, "odd") as answer:
        assert await anext(answer) == b"data: one\n\n"
        with pytest.raises(UpstreamUnavailable) as caught:
            await anext(answer)
    assert caught.value.kind == "connect"


async def test_an_answer_that_comes_in_the_moment_of_its_timeout_leaves_no_cancelling_behind():
    async def pieces():
        yield b"first"
        await asyncio.sleep(60)

    async def respond(outgoing):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return 200, {}, pieces()

    client = Upstream(in_process={"slow": respond})
    limits = Timeouts(connect=0.05, first_byte=0.05, first_token=0.1, idle=0.1, total=0.2)
    with pytest.raises(UpstreamUnavailable) as caught:
        await client.send(Outgoing("http://p/v1", {}, b""), limits, "slow")

    assert caught.value.kind == "timeout"
    assert asyncio.current_task().cancelling() == 0


async def test_the_largest_request_is_ended_where_memory_runs_out():

    async def silent(outgoing):
        await asyncio.Event().wait()

    client = Upstream(in_process={"silent": silent})
    sent = [asks("http://a/v1", text=text) for text in ("short", "longer by far", "middling")]
    tasks = [asyncio.create_task(client.send(each, AMPLE, "silent")) for each in sent]
    await asyncio.sleep(0)
    client.relieve(Unavailable("no memory"))
    with pytest.raises(Unavailable, match="no memory"):
        await tasks[1]
    assert [task.done() for task in tasks] == [False, True, False]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    client.relieve(Unavailable("nothing runs any more"))
