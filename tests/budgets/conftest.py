"""Tests of the shared ledger need a Redis of their own to lose; where none is installed they are not collected."""

from collections.abc import Iterator

import pytest

from tests.redis_server import BINARY, RedisServer

collect_ignore = [] if BINARY else ["test_shared_ledger.py", "test_slices.py", "test_slices_lost.py"]


@pytest.fixture
def own_redis(tmp_path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()
