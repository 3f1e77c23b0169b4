"""Fixtures of the fault-injecting upstream; named in tests/conftest.py's `pytest_plugins`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.upstream.server import Upstream, refusing, unconnectable


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """One provider that answers plainly until it is told otherwise."""
    with Upstream() as server:
        yield server


@pytest.fixture
def upstreams() -> Iterator[Callable[[int], list[Upstream]]]:
    """Makes several of them: `first, second = upstreams(2)`."""
    with ExitStack() as stack:
        yield lambda count: [stack.enter_context(Upstream()) for _ in range(count)]


@pytest.fixture
def refused_url() -> Iterator[str]:
    with refusing() as url:
        yield url


@pytest.fixture
def unconnectable_url() -> Iterator[str]:
    with unconnectable() as url:
        yield url
