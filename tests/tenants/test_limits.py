"""Which limits a call meets, and how a refusal reads."""

import pytest

from gateway.core.counters import Admitted, Crowded, StoreUnavailable
from gateway.core.errors import RateLimited, Unavailable
from gateway.counters.memory import MemoryCounters
from tenants.limits import counted_address, duration
from tenants.snapshot import LimitView, TenantsSnapshot
from tenants.stage import admitted
from tests.budgets.sample import ask


def limit(of, unit, amount, *, match="", window_s=60, burst=None):
    return LimitView(of, match, unit, amount, 0 if unit == "concurrency" else window_s, burst)


def tenants(*limits, counters=None, policy="open"):
    return TenantsSnapshot(
        keys={},
        peppers=(),
        limits={"1": limits},
        on_unavailable={"1": policy},
        counters=MemoryCounters() if counters is None else counters,
    )


async def let_in(config, times=1, **fields):
    """How many calls come in."""
    count = 0
    for _ in range(times):
        try:
            async with admitted(ask(**fields), config):
                count += 1
        except RateLimited:
            continue
    return count


async def test_every_limit_that_is_about_the_call_must_have_room():
    config = tenants(
        limit("workspace", "requests", 9),
        limit("team", "requests", 8, match="search"),
        limit("team", "requests", 1, match="support"),
        limit("key", "requests", 7),
        limit("user", "requests", 5),
        limit("ip", "requests", 6),
    )
    assert await let_in(config, 10, user="ann") == 5
    assert await let_in(config, 10, user="bob") == 1
    assert await let_in(config, 10) == 0


async def test_a_refusal_names_scope_unit_and_limit_and_says_when_to_come_back():
    config = tenants(limit("key", "requests", 1))
    assert await let_in(config) == 1
    with pytest.raises(RateLimited) as refused:
        async with admitted(ask(), config):
            raise AssertionError("nobody may come in")
    error = refused.value
    assert error.message == "This key 'web' may use 1 requests a minute, and has 0 left."
    assert (error.status, error.code, error.headers["retry-after"]) == (429, "rate_limit_exceeded", "60")
    assert error.headers["x-ratelimit-limit-requests"] == "1"
    assert error.headers["x-ratelimit-remaining-requests"] == "0"


async def test_an_answer_says_how_the_tightest_limits_stand():
    config = tenants(limit("workspace", "requests", 100), limit("key", "requests", 10), limit("key", "tokens", 100_000))
    call = ask("Hello", max_tokens=15)
    async with admitted(call, config):
        assert call.reply_headers["x-ratelimit-limit-requests"] == "10"
        assert call.reply_headers["x-ratelimit-remaining-requests"] == "9"
        assert call.reply_headers["x-ratelimit-limit-tokens"] == "100000"
        assert call.reply_headers["x-ratelimit-remaining-tokens"] == str(100_000 - 85 - 15)
        call.tokens = 30
    following = ask("Hello", max_tokens=15)
    async with admitted(following, config):
        assert following.reply_headers["x-ratelimit-remaining-tokens"] == str(100_000 - 30 - 100)


async def test_a_bound_that_does_not_fit_is_looked_at_again_with_a_calibrated_count():
    config = tenants(limit("key", "tokens", 600))
    assert await let_in(config, text="x" * 900, max_tokens=50) == 1
    assert await let_in(config, text="x" * 5000, max_tokens=50) == 0


async def test_calls_at_once_are_counted_until_they_leave():
    config = tenants(limit("key", "concurrency", 1))
    async with admitted(ask(), config):
        with pytest.raises(RateLimited, match="1 calls under way at once"):
            async with admitted(ask(), config):
                raise AssertionError("nobody may come in")
    assert await let_in(config) == 1


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
    ],
)
def test_an_address_is_counted_by_what_one_home_has(peer, counted):
    assert counted_address(peer) == counted


@pytest.mark.parametrize(
    ("milliseconds", "text"), [(0, "0ms"), (250, "250ms"), (1500, "1.5s"), (90_000, "1m30s"), (3_600_000, "1h0m0s")]
)
def test_a_reset_is_written_as_openai_does(milliseconds, text):
    assert duration(milliseconds) == text


class Away(MemoryCounters):
    """A store that does not answer, shared by three workers."""

    def __init__(self):
        super().__init__()
        self.local, self.workers = MemoryCounters(), 3

    async def admit(self, ticket, rates) -> Admitted | Crowded:
        raise StoreUnavailable


@pytest.mark.parametrize(("policy", "come_in"), [("open", 9), ("local", 2)])
async def test_while_the_store_is_away_the_workspaces_policy_decides(policy, come_in):
    config = tenants(limit("key", "requests", 6), counters=Away(), policy=policy)
    assert await let_in(config, 9) == come_in


async def test_closed_means_that_nobody_comes_in_while_the_store_is_away():
    config = tenants(limit("key", "requests", 6), counters=Away(), policy="closed")
    with pytest.raises(Unavailable):
        await let_in(config)
