"""Providers, credentials, models and routes over /api/."""

import json

import pytest
from django.test import Client

from gateway.models import Credential, RouteTarget, ServedModel
from tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(rows.superuser())
    return client


def write(client: Client, method: str, path: str, body: dict):
    return getattr(client, method)(path, json.dumps(body), content_type="application/json")


def test_a_credentials_secret_goes_in_and_never_comes_out(root: Client) -> None:
    rows.platform()
    made = write(root, "post", "/api/credentials/", {"provider": "main", "name": "second", "secret": "sk-second-98765"})
    path = f"/api/credentials/{made.json()['id']}/"
    changed = write(root, "patch", path, {"secret": "sk-changed-54321"})

    assert Credential.objects.get(name="second").secret == "sk-changed-54321"
    shown = made.content + changed.content + root.get(path).content + root.get("/api/credentials/").content
    assert b"sk-second-98765" not in shown
    assert b"sk-changed-54321" not in shown
    assert changed.json()["hint"] == "4321"


def test_a_renamed_credential_still_opens(root: Client) -> None:
    shared = rows.platform()
    write(root, "patch", f"/api/credentials/{shared.credential.pk}/", {"name": "renamed"})

    assert Credential.objects.get(pk=shared.credential.pk).secret == "sk-very-secret-1234"


def test_a_new_credential_needs_its_secret(root: Client) -> None:
    rows.platform()
    response = write(root, "post", "/api/credentials/", {"provider": "main", "name": "second"})

    assert response.json() == {"secret": ["Write the secret that the provider gave you."]}


def test_written_targets_replace_the_chain_in_this_order(root: Client) -> None:
    shared = rows.platform()
    ServedModel.objects.create(name="large", provider=shared.provider, upstream="large-1")
    path = f"/api/routes/{shared.route.pk}/"
    kept = shared.route.targets.get()
    body = write(root, "patch", path, {"targets": [{"model": "large", "weight": 3}, {"model": "small"}]}).json()

    assert [(target["model"], target["weight"]) for target in body["targets"]] == [("large", 3), ("small", 1)]
    assert RouteTarget.objects.get(model__name="small").pk == kept.pk
    body = write(root, "patch", path, {"targets": [{"model": "small"}]}).json()
    assert [target["model"] for target in body["targets"]] == ["small"]


def test_a_refused_chain_changes_nothing(root: Client) -> None:
    shared = rows.platform()
    path = f"/api/routes/{shared.route.pk}/"
    response = write(root, "patch", path, {"name": "new", "targets": [{"model": "small"}, {"model": "small"}]})

    assert (response.status_code, response.json()) == (400, {"targets": ["small stands in the chain twice."]})
    shared.route.refresh_from_db()
    assert shared.route.name == "chat"


def test_what_is_in_use_is_not_deleted(root: Client) -> None:
    shared = rows.platform()
    response = root.delete(f"/api/models/{shared.model.pk}/")

    assert response.status_code == 409
    assert response.json() == {"detail": "It is still used by route targets; change or delete those first."}


def test_prices_are_dollars_per_million_tokens(root: Client) -> None:
    body = {"model": "small", "input": "0.15", "output": "0.60", "cached_input": "0.075"}
    made = write(root, "post", "/api/prices/", body).json()

    assert {name: made[name] for name in ("input", "output", "cached_input")} == {
        "input": "0.15",
        "output": "0.6",
        "cached_input": "0.075",
    }


def test_pages_have_a_size_and_a_bound(root: Client) -> None:
    shared = rows.platform()
    for number in range(3):
        ServedModel.objects.create(name=f"m{number}", provider=shared.provider, upstream="x")
    body = root.get("/api/models/", {"page_size": 2, "page": 2}).json()

    assert (body["count"], [row["name"] for row in body["results"]]) == (4, ["m2", "small"])
    assert root.get("/api/models/", {"page": 99}).status_code == 404


@pytest.mark.parametrize("name", ["models", "routes", "credentials"])
@pytest.mark.parametrize("more", [0, 2])
def test_a_list_asks_as_often_whatever_its_length(
    root: Client, django_assert_num_queries, name: str, more: int
) -> None:
    shared = rows.platform()
    for number in range(more):
        rows.store_credential(provider=shared.provider, name=f"c{number}", secret="sk-secret-of-more")
        model = ServedModel.objects.create(name=f"m{number}", provider=shared.provider, upstream="x")
        RouteTarget.objects.create(route=shared.route, model=model)
    with django_assert_num_queries({"models": 4, "routes": 6, "credentials": 4}[name]):
        assert root.get(f"/api/{name}/").status_code == 200


def test_the_configurations_state_can_be_asked(root: Client) -> None:
    rows.platform()
    body = root.get("/api/configuration/").json()

    assert body["saved"] > 0
    assert body["error"] == ""
