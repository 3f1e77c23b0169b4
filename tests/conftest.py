"""What every test shares."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.installation import Installation

# The same examples each time, and no clock: a busy machine is no failure.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ["tests.upstream.fixtures", "tests.emptying"]


@pytest.fixture
def installation() -> Iterator[Installation]:
    """A fresh installation, migrated but not serving."""
    with Installation() as gateway:
        yield gateway
