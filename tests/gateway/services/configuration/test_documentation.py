"""docs/configuration.md lists every field of the format, and the example applies."""

from pathlib import Path

from gateway.services.configuration.documentation import tables
from tests.gateway.services.configuration.world import ENVIRONMENT

ROOT = Path(__file__).parents[4]


def test_the_documentation_has_every_field_as_the_schema_has_it():
    """To bring it up to date: put what tables() returns behind the heading "The fields"."""
    text = (ROOT / "docs" / "configuration.md").read_text()

    assert text.partition("## The fields\n\n")[2] == tables()


def test_the_example_applies_and_then_changes_nothing(world):
    world.text = (ROOT / "deploy" / "tollgate.example.yaml").read_text()
    world.environment = dict(ENVIRONMENT)

    assert {line[0] for line in world.lines()} == {"+"}
    assert world.lines() == ["nothing to change"]
