"""W3C trace context: what comes in is honoured where it is valid, and what goes out continues it."""

import pytest

from gateway.core.call import Call
from gateway.edge.chat import Chat
from gateway.edge.endpoints import FORMS
from gateway.telemetry import conventions
from gateway.telemetry.sampling import Trace, continued, fresh
from gateway.telemetry.traces import Traces

GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def traces():
    """A function that makes Traces; nobody listens at their endpoint."""
    made: list[Traces] = []

    def make(ratio: float) -> Traces:
        made.append(Traces("http://127.0.0.1:9", ratio))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def call(traceparent: str = "", *, key: object = "a key") -> Call:
    headers = {"traceparent": traceparent} if traceparent else {}
    return Call(id="1", form=Chat(), body={}, headers=headers, key=key)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{GIVEN}-{PARENT}",
        f"00-{GIVEN.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{GIVEN}-{'0' * 16}-01",
        f"ff-{GIVEN}-{PARENT}-01",
        f"00-{GIVEN}-{PARENT}-01-more",
        f"00-{GIVEN}-{PARENT}-01, 00-{GIVEN}-{PARENT}-01",
        "00-\u0664bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_a_header_that_is_no_trace_context_is_passed_over(header):
    assert continued(header) is None


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_a_trace_is_continued_with_its_flag(flags, is_sampled):
    trace = continued(f"00-{GIVEN}-{PARENT}-{flags}")
    assert (trace.id, trace.parent_id, trace.is_sampled) == (GIVEN, int(PARENT, 16), is_sampled)


def test_a_later_version_of_the_header_may_say_more():
    assert continued(f"01-{GIVEN}-{PARENT}-01-more").id == GIVEN


def test_what_goes_out_names_the_attempts_own_span():
    trace = Trace(int(GIVEN, 16), int(PARENT, 16), is_sampled=True)
    trace.span_id = 255
    assert trace.outgoing(1) == {"traceparent": f"00-{GIVEN}-0000000000000100-01"}
    trace.span_id = 2**64 - 1
    assert trace.outgoing(1) == {"traceparent": f"00-{GIVEN}-{'f' * 16}-01"}


def test_traces_that_begin_here_differ_and_have_no_parent():
    assert len({fresh().trace_id for _ in range(100)}) == 100
    assert fresh().parent_id == 0


def test_the_share_decides_where_the_caller_says_nothing(traces):
    for ratio, expected in ((0.0, None), (1.0, True)):
        made = call()
        traces(ratio).begin(made)
        assert (made.trace and made.trace.is_sampled) is expected


def test_the_callers_wish_counts_more_than_the_share(traces):
    wanted, unwanted = call(f"00-{GIVEN}-{PARENT}-01"), call(f"00-{GIVEN}-{PARENT}-00")
    traces(0.0).begin(wanted)
    traces(1.0).begin(unwanted)
    assert (wanted.trace.id, wanted.trace.is_sampled) == (GIVEN, True)
    assert (unwanted.trace.id, unwanted.trace.is_sampled) == (GIVEN, False)


def test_without_a_valid_key_nobody_makes_us_trace(traces):
    made = call(f"00-{GIVEN}-{PARENT}-01", key=None)
    traces(0.0).begin(made)
    assert made.trace is None


def test_the_conventions_know_every_form():
    assert {name: path for name, (path, _) in conventions.FORMS.items()} == {
        form.name: path for path, form in FORMS.items()
    }
