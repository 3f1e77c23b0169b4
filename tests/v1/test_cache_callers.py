"""The cache over HTTP, seen from its callers: in which shape they ask, and who they are."""

from openai import OpenAI

from tests.v1.test_cache import KEYS, ask, cached, plain_answers, told, wait_until

__all__ = ["cached", "plain_answers"]  # fixtures


def test_a_whole_answer_is_a_hit_for_a_stream_and_the_other_way_round(cached) -> None:
    installation, provider = cached
    client = OpenAI(base_url=f"{installation.url}/v1", api_key=KEYS["acme"])

    def whole(text: str) -> str:
        made = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": text}])
        assert made.usage.total_tokens > 0
        return made.choices[0].message.content

    def streamed(text: str) -> str:
        said = [{"role": "user", "content": text}]
        with client.chat.completions.create(
            model="chat", messages=said, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
        assert chunks[-1].usage.total_tokens > 0
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    for first, second, text in ((whole, streamed, "whole first"), (streamed, whole, "streamed first")):
        answer, before = first(text), provider.meter.requests
        assert [second(text), first(text), second(text)] == [answer] * 3
        assert provider.meter.requests == before
        assert told(ask(installation, text, stream=second is streamed)) == (200, "hit-exact")


def test_who_wants_an_answer_of_its_own_and_names_nobody_shares_with_nobody(cached) -> None:
    installation, _ = cached
    ask(installation, "for nobody")
    own = {"cache_options": {"cache_by_customer": True}}
    assert [told(ask(installation, "for nobody", **own)) for _ in range(2)] == [(200, "off")] * 2
    assert [told(ask(installation, "for nobody", model="faq", **own)) for _ in range(2)] == [(200, "off")] * 2


def test_a_blocked_end_user_is_refused_although_the_answer_is_kept(cached) -> None:
    installation, _ = cached
    assert [told(ask(installation, "blocked?", user="mallory")) for _ in range(2)] == [
        (200, "miss"),
        (200, "hit-exact"),
    ]
    installation.apply("version: 1\nworkspaces: [{name: acme, blocked_users: [mallory]}]")
    wait_until(lambda: ask(installation, "blocked?", user="mallory").status_code == 403)
    for name in ("user", "customer_identifier", "safety_identifier"):
        refused = ask(installation, "blocked?", **{name: "mallory"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "user_blocked")
    assert told(ask(installation, "blocked?", user="ann")) == (200, "hit-exact")
    assert told(ask(installation, "blocked?", key="other", user="mallory")) == (200, "miss")
    installation.apply("version: 1\nworkspaces: [{name: acme, blocked_users: []}]")
    wait_until(lambda: told(ask(installation, "blocked?", user="mallory")) == (200, "hit-exact"))
