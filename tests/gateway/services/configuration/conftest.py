import pytest

from tests.gateway.services.configuration.world import World


@pytest.fixture
def world(tmp_path, db):
    return World(tmp_path)


@pytest.fixture
def applied(world):
    """A world whose file was applied once."""
    world.apply()
    return world
