"""The pages of providers and models: starting from a known server, and where prices come from."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from budgets.models import Price
from gateway.models import ServedModel
from gateway.providers.presets import PRESETS
from tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(rows.superuser())
    return client


def test_a_known_server_fills_in_the_form_by_a_plain_link(root: Client) -> None:
    add = reverse("admin:gateway_provider_add")
    empty = root.get(add)
    assert [f'href="?preset={preset.slug}"' in empty.text for preset in PRESETS] == [True] * len(PRESETS)
    [groq] = [preset for preset in PRESETS if preset.slug == "groq"]
    filled = root.get(add, {"preset": "groq"})
    initial = filled.context["adminform"].form.initial
    assert {name: initial[name] for name in ("name", "kind", "base_url", "quirks")} == {
        "name": "groq",
        "kind": "openai_compatible",
        "base_url": groq.base_url,
        "quirks": dict(groq.quirks),
    }
    assert groq.docs_url in filled.text
    assert root.get(add, {"preset": "nobody"}).status_code == 200


def test_the_known_servers_stand_on_no_other_page(root: Client) -> None:
    shared = rows.platform()
    page = root.get(reverse("admin:gateway_provider_change", args=[shared.credential.provider_id]))
    assert "?preset=" not in page.text


def test_the_known_servers_are_given_out_over_the_api(root: Client) -> None:
    found = root.get("/api/provider-presets/").json()
    assert [each["slug"] for each in found] == [preset.slug for preset in PRESETS]
    assert {each["kind"] for each in found} == {"openai_compatible"}
    assert Client().get("/api/provider-presets/").status_code in (401, 403)


def test_a_models_page_says_what_it_costs_and_who_says_so(root: Client) -> None:
    rows.platform()
    model = ServedModel.objects.first()
    for price in Price.objects.filter(model=model.name):
        price.delete()
    day = datetime(2025, 3, 1, tzinfo=UTC)
    model.listed_context_tokens, model.listed_at, model.context_tokens = 128_000, day, None
    model.save()
    page = reverse("admin:gateway_servedmodel_change", args=[model.pk])
    assert "None: add one under Prices" in root.get(page).text
    listed = {"model": model.name, "source": "catalogue", "valid_from": day}
    Price.objects.create(**listed, input_nanos=2_000_000_000, output_nanos=8_000_000_000)
    shown = root.get(page).text
    assert "$ 2 / 8 per million tokens in / out (Price catalogue, 2025-03-01)" in " ".join(shown.split())
    assert "128,000 tokens, read 2025-03-01" in shown
    assert "128,000 (catalogue)" in root.get(reverse("admin:gateway_servedmodel_changelist")).text
    own = listed | {"source": "configuration", "valid_from": datetime(2024, 1, 1, tzinfo=UTC)}
    Price.objects.create(**own, input_nanos=1_000_000_000, output_nanos=1_000_000_000)
    assert "(Configuration, 2024-01-01)" in root.get(page).text
