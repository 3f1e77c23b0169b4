"""Every page of the web UI opens."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from gateway.models import Route, ServedModel
from tests import rows

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(rows.superuser())
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_opens_when_it_is_empty(root: Client, model) -> None:
    opts = model._meta
    response = root.get(reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"))

    assert response.status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_list_form_row_and_history_opens(root: Client, model) -> None:
    rows.platform()
    rows.tenant("acme").person("viewer")
    opts, page = model._meta, admin.site._registry[model]
    name = f"admin:{opts.app_label}_{opts.model_name}"

    assert root.get(reverse(f"{name}_changelist"), {"q": "a"}).status_code == 200
    added = root.get(reverse(f"{name}_add"))
    assert added.status_code == (200 if page.has_add_permission(added.wsgi_request) else 403)
    row = model._default_manager.first()
    if row is not None:
        assert root.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        assert root.get(reverse(f"{name}_history", args=[row.pk])).status_code == 200
        assert root.get(reverse(f"{name}_delete", args=[row.pk])).status_code in (200, 403)


def test_home_opens_and_the_root_leads_there(root: Client) -> None:
    assert root.get("/").headers["location"] == "/admin/"
    assert root.get("/admin/").status_code == 200


def test_the_health_page_shows_every_place_and_a_route_its_chain(root: Client, settings, tmp_path) -> None:
    settings.DATA_DIR = tmp_path
    rows.platform()
    answer = root.get(reverse("admin:gateway_health"))
    assert [place["state"] for place in answer.context["places"]] == ["unused"] * ServedModel.objects.count()
    route = Route.objects.first()
    shown = root.get(reverse("admin:gateway_route_change", args=[route.pk]))
    models = [target["model"] for target in shown.context["picture"]["targets"]]
    assert models == [target.model.name for target in route.targets.order_by("position", "id")]


def test_a_shadow_is_set_with_three_fields_and_its_route_shows_how_it_does(root: Client) -> None:
    rows.platform()
    route = Route.objects.first()
    model = ServedModel.objects.filter(kind="chat").first()
    page = reverse("admin:gateway_route_change", args=[route.pk])
    form = root.get(page).context["adminform"].form
    sent = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    sent |= {"options": '{"timeout_s": 9}', "shadow_model": model.pk, "shadow_share_percent": "5", "is_enabled": "on"}
    sent |= {f"targets-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}

    root.post(page, sent | {"shadow_daily_usd": ""})
    route.refresh_from_db()
    assert "shadow" not in route.options

    root.post(page, sent | {"shadow_daily_usd": "2.50"})
    route.refresh_from_db()
    assert route.options == {
        "timeout_s": 9,
        "shadow": {"model": model.name, "share_percent": 5.0, "daily_usd": "2.50"},
    }
    shadow = root.get(page).context["picture"]["shadow"]
    assert (shadow["model"], shadow["lines"]) == (model.name, [])
    again = root.get(page).context["adminform"].form
    assert (again["shadow_model"].value(), again.initial["options"]) == (model.pk, {"timeout_s": 9})


def test_asking_twice_and_going_on_are_set_in_fields_of_their_own(root: Client) -> None:
    rows.platform()
    route = Route.objects.first()
    page = reverse("admin:gateway_route_change", args=[route.pk])
    form = root.get(page).context["adminform"].form
    sent = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    sent |= {"options": '{"timeout_s": 9}', "is_enabled": "on", "hedge_after_s": "0.5", "goes_on": "on"}
    sent |= {f"targets-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")}

    root.post(page, sent)
    route.refresh_from_db()
    assert route.options == {"timeout_s": 9, "hedge_after_s": 0.5, "continue": True}
    again = root.get(page).context["adminform"].form
    assert (again["hedge_after_s"].value(), again["goes_on"].value()) == (0.5, True)
    assert again.initial["options"] == {"timeout_s": 9}

    root.post(page, sent | {"hedge_after_s": "", "goes_on": ""})
    route.refresh_from_db()
    assert route.options == {"timeout_s": 9}


@pytest.mark.parametrize(
    ("address", "lit"),
    [
        ("/admin/", "Home"),
        ("/admin/dashboards/", "Dashboards"),
        ("/admin/gateway/servedmodel/", "Models"),
        ("/admin/gateway/servedmodel/health/", "Health"),
        ("/admin/audit/callrecord/sessions/", "Calls"),
        ("/admin/password_change/", None),
    ],
)
def test_the_sidebar_marks_the_page_that_is_open_and_no_other(root: Client, address: str, lit: str | None) -> None:
    groups = root.get(address).context["sidebar_navigation"]
    marked = [item["title"] for group in groups for item in group["items"] if item["active"]]
    assert marked == ([lit] if lit else [])
