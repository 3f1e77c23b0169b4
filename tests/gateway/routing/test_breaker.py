"""Circuits, under a clock of our own."""

from types import SimpleNamespace

from gateway.core.call import Target
from gateway.routing import breaker
from gateway.routing.breaker import CLOSED, HALF_OPEN, LONGEST_OPEN_SECONDS, OPEN, Circuit

START = 1000.0


def circuit() -> Circuit:
    return Circuit(Target("m", "p", "openai", "http://p/v1", "m-1", credential="main"))


def opened(times: int = 1) -> tuple[Circuit, float]:
    """A circuit that has been opened so often in a row, and the moment of the last opening."""
    it, now = circuit(), START
    for _ in range(5):
        it.failed(now, "timeout")
    for _ in range(times - 1):
        now = it.blocked_until
        assert it.admits(now)
        it.failed(now, "timeout")
    return it, now


def test_five_failures_in_a_row_open_it():
    it = circuit()
    for _ in range(4):
        it.failed(START, "timeout")
    assert (it.state, it.admits(START)) == (CLOSED, True)
    it.failed(START, "timeout")
    assert (it.state, it.admits(START)) == (OPEN, False)
    assert 4.0 <= it.blocked_until - START <= 6.0


def test_a_success_in_between_starts_the_count_again():
    it = circuit()
    for _ in range(3):
        for _ in range(4):
            it.failed(START, "server_error")
        it.succeeded(START)
        it.succeeded(START + 11)  # and beyond the window
    assert it.state == CLOSED


def test_half_of_twenty_within_the_window_open_it():
    it = circuit()
    for number in range(19):
        (it.failed(START, "bad_answer") if number % 2 else it.succeeded(START))
    assert it.state == CLOSED
    it.failed(START + 1, "bad_answer")
    assert it.state == OPEN


def test_failures_of_long_ago_do_not_count():
    it = circuit()
    for number in range(40):
        now = START + number * 3
        (it.failed(now, "bad_answer") if number % 2 else it.succeeded(now))
    assert it.state == CLOSED


def test_when_its_time_is_over_one_probe_at_a_time_passes_and_two_answers_close_it():
    it, _ = opened()
    now = it.blocked_until
    assert [it.admits(now), it.admits(now)] == [True, False]
    it.succeeded(now)
    assert it.state == HALF_OPEN
    assert [it.admits(now), it.admits(now)] == [True, False]
    it.succeeded(now)
    assert it.state == CLOSED
    assert [change.state for change in it.history] == [OPEN, HALF_OPEN, CLOSED]


def test_a_failed_probe_opens_it_for_longer_up_to_a_minute():
    lengths = []
    for times in (1, 2, 4, 40):
        it, now = opened(times)
        lengths.append(it.blocked_until - now)
    assert 4.0 <= lengths[0] <= 6.0
    assert 8.0 <= lengths[1] <= 12.0
    assert 16.0 <= lengths[2] <= 24.0
    assert lengths[3] <= LONGEST_OPEN_SECONDS * 1.2


def test_a_target_that_fails_at_once_is_probed_at_the_same_pace_for_ever():
    it, now = circuit(), START
    for _ in range(30):
        it.failed(now, "connect", instant=True)
    assert it.blocked_until - now <= 6.0


def test_a_probe_that_said_nothing_gives_its_place_back():
    it, _ = opened()
    now = it.blocked_until
    assert it.admits(now)
    it.released()
    assert it.admits(now)


def test_cooling_off_is_no_failure():
    it = circuit()
    it.cool(START, 7.0, "rate limited by the provider")
    assert (it.state, it.admits(START + 6.9), it.admits(START + 7.0)) == (CLOSED, False, True)
    assert it.why_not(START) == "cooling off for 7.0 s more (rate limited by the provider)"


def test_calls_that_were_under_way_when_it_opened_do_not_open_it_further():
    it, now = opened()
    until, changes = it.blocked_until, len(it.history)
    for _ in range(10):
        it.failed(now + 0.1, "timeout")
    assert (it.blocked_until, it.ejections, len(it.history)) == (until, 1, changes)


def test_an_answer_while_it_is_open_lets_the_next_call_probe_at_once():
    it, now = opened()
    it.succeeded(now + 0.1)
    assert it.state == HALF_OPEN
    assert it.admits(now + 0.1)


def test_a_part_of_the_calls_is_held_back_once_more_fail_than_are_answered(monkeypatch):
    it = circuit()
    for fails in (True, True, True, False, True, True, False, True, False, True):  # seven of ten
        (it.failed(START, "server_error") if fails else it.succeeded(START))
    assert it.throttle == (10 - 2 * 3) / 11
    monkeypatch.setattr(breaker, "chance", SimpleNamespace(random=lambda: it.throttle - 0.01))
    assert not it.admits(START)
    assert it.why_not(START) == "held back for a part of the calls, because most fail (server_error)"
    monkeypatch.setattr(breaker, "chance", SimpleNamespace(random=lambda: it.throttle))
    assert it.admits(START)


def test_nothing_is_held_back_of_few_calls_of_mostly_answered_ones_or_after_the_window():
    few, well, past = circuit(), circuit(), circuit()
    for number in range(9):
        (few.succeeded(START) if number % 4 == 3 else few.failed(START, "server_error"))
    for number in range(10):
        (well.succeeded(START) if number % 2 else well.failed(START, "server_error"))
        (past.succeeded(START) if number % 4 == 3 else past.failed(START, "server_error"))
    assert (few.throttle, well.throttle, past.throttle > 0) == (0.0, 0.0, True)
    assert past.admits(START + 11)
    assert past.throttle == 0.0
