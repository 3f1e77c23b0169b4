"""The price catalogue's facts in our own tables."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from budgets import catalogue
from budgets.compiler import price_list, price_lists
from budgets.models import Price
from gateway.compiler import served_models
from gateway.models import Provider, ServedModel
from gateway.services.catalogue import sync_catalogue

pytestmark = pytest.mark.django_db


@pytest.fixture
def sonnet() -> ServedModel:
    provider = Provider.objects.create(name="anthropic", kind="anthropic", base_url="https://api.anthropic.com")
    return ServedModel.objects.create(name="sonnet", provider=provider, upstream="claude-sonnet-4-5")


def test_a_models_listed_price_becomes_a_dated_row_that_means_the_same(sonnet):
    sync_catalogue()
    row = Price.objects.get(model="sonnet")
    listed = catalogue.price("anthropic", "claude-sonnet-4-5")
    read = price_list(row)
    assert (row.source, row.input_nanos, row.output_nanos) == ("catalogue", 3_000_000_000, 15_000_000_000)
    assert (read.rates, read.tiers) == (listed.rates, listed.tiers)
    assert row.note.startswith("genai-prices ")


def test_a_context_size_counts_where_the_model_says_none(sonnet):
    sync_catalogue()
    assert served_models()["sonnet"].targets[0].context_tokens == 200_000
    sonnet.refresh_from_db()
    assert sonnet.context_tokens is None
    sonnet.context_tokens = 50_000
    sonnet.save()
    assert served_models()["sonnet"].targets[0].context_tokens == 50_000


def test_doing_it_twice_changes_nothing_and_says_so(sonnet):
    first, second = StringIO(), StringIO()
    call_command("sync_models", stdout=first)
    call_command("sync_models", provider="anthropic", stdout=second)
    assert first.getvalue() == "~ sonnet: price, context\n"
    assert second.getvalue() == "= sonnet: as it was\nnothing to change\n"
    assert Price.objects.count() == 1


def test_a_price_of_ones_own_wins_whatever_its_date(sonnet):
    own = Price.objects.create(model="sonnet", input_nanos=1, output_nanos=2, valid_from=timezone.now())
    sync_catalogue()
    assert [price.version for _, price in price_lists()["sonnet"]] == [str(own.pk)]


def test_a_changed_catalogue_adds_a_row_and_keeps_the_old_one(sonnet):
    sync_catalogue()
    Price.objects.filter(model="sonnet").get()
    old = Price.objects.get()
    old.input_nanos = 5
    old.save()
    assert [change.price for change in sync_catalogue()] == [True]
    assert Price.objects.filter(model="sonnet", source="catalogue").count() == 2


def test_unknown_models_are_named_and_unknown_providers_refused(sonnet):
    ServedModel.objects.create(name="own", provider=sonnet.provider, upstream="my-own-finetune")
    said = StringIO()
    call_command("sync_models", stdout=said)
    assert said.getvalue() == "? own: not in the catalogue\n~ sonnet: price, context\n"
    with pytest.raises(CommandError, match="no provider 'nobody'"):
        call_command("sync_models", provider="nobody")
