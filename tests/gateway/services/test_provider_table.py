"""The page about providers says what the adapters declare."""

from io import StringIO

import pytest
from django.core.management import call_command

from gateway.providers import PROVIDERS
from gateway.providers.abilities import ABILITIES, MOCK, RECORDED, UNTESTED, table


def test_the_page_is_current():
    said = StringIO()
    call_command("provider_table", check=True, stdout=said)
    assert said.getvalue() == "docs/providers.md is current.\n"


def test_every_adapter_declares_known_abilities_and_how_they_were_verified():
    for adapter in PROVIDERS.values():
        assert set(adapter.can) <= set(ABILITIES)
        assert set(adapter.can.values()) <= {RECORDED, MOCK, UNTESTED}
        assert "text" in adapter.can
        assert ("embedding" in adapter.can) == ("embeddings" in adapter.forms)


def test_an_ability_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="telepathy"):
        table({"x": {"telepathy": RECORDED}})
