"""Another tenant's rows are not there: not in a list, not by id, not to be named in what is written."""

import json

import pytest
from django.test import Client

from tests import rows

pytestmark = pytest.mark.django_db

ROLES = ("owner", "admin", "editor", "publisher", "reviewer", "finance", "viewer")
OWNED = (
    ("workspaces", "workspace"),
    ("teams", "team"),
    ("keys", "key"),
    ("limits", "limit"),
    ("budgets", "budget"),
    ("alert-channels", "channel"),
    ("redaction-policies", "redaction"),
    ("guardrails", "guardrail"),
    ("prompts", "prompt"),
    ("suites", "suite"),
    ("channels", "rules"),
    ("prompt-webhooks", "webhook"),
)
CHANGERS = {
    "workspaces": {"owner", "admin"},
    "teams": {"owner", "admin"},
    "keys": {"owner", "admin"},
    "limits": {"owner", "admin"},
    "budgets": {"owner", "admin", "finance"},
    "alert-channels": {"owner", "admin", "finance"},
    "redaction-policies": {"owner", "admin"},
    "guardrails": {"owner", "admin"},
    "prompts": {"owner", "admin", "editor", "publisher"},
    "suites": {"owner", "admin", "editor", "publisher"},
    "channels": {"owner", "admin"},
    "prompt-webhooks": {"owner", "admin"},
}


@pytest.fixture
def acme() -> rows.Tenant:
    return rows.tenant("acme")


@pytest.fixture
def umbra() -> rows.Tenant:
    umbra = rows.tenant("umbra")
    umbra.person("owner")
    return umbra


def send(client: Client, method: str, path: str, body: dict | None = None):
    return getattr(client, method)(path, json.dumps(body or {}), content_type="application/json")


@pytest.mark.parametrize(
    "name", [*(name for name, _ in OWNED), "members", "prompt-versions", "deployments", "cases", "cache-purges"]
)
def test_a_list_names_nothing_of_another_tenant(client: Client, acme, umbra, name: str) -> None:
    client.force_login(acme.person("owner"))
    response = client.get(f"/api/{name}/")

    assert response.status_code == 200
    assert response.json()["count"] == 1
    assert b"umbra" not in response.content


@pytest.mark.parametrize(("name", "attribute"), OWNED)
def test_another_tenants_row_is_not_found_whatever_is_asked_of_it(client: Client, acme, umbra, name, attribute) -> None:
    client.force_login(acme.person("owner"))
    path = f"/api/{name}/{getattr(umbra, attribute).pk}/"
    asked = [client.get(path)] + [send(client, method, path) for method in ("patch", "put")]
    if name not in ("keys", "prompts"):
        asked.append(client.delete(path))

    assert {response.status_code for response in asked} == {404}


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_another_tenants_key_can_be_neither_rotated_nor_revoked(client: Client, acme, umbra, verb) -> None:
    client.force_login(acme.person("owner"))

    assert send(client, "post", f"/api/keys/{umbra.key.pk}/{verb}/").status_code == 404
    umbra.key.refresh_from_db()
    assert umbra.key.revoked_at is None


def test_a_row_cannot_be_made_in_another_tenants_workspace(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    response = send(client, "post", "/api/teams/", {"workspace": "umbra", "name": "x"})

    assert response.status_code == 400
    assert response.json() == {"workspace": ["Object with name=umbra does not exist."]}


def test_a_row_cannot_move_to_another_workspace_even_by_somebody_who_may_change_both(
    client: Client, acme, umbra
) -> None:
    client.force_login(rows.superuser())
    response = send(client, "patch", f"/api/teams/{acme.team.pk}/", {"workspace": "umbra"})

    assert response.status_code == 400
    assert response.json() == {"workspace": ["A row stays in its workspace."]}


def test_a_key_cannot_name_another_tenants_team(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))
    body = {"workspace": "acme", "name": "new", "team": "umbra-team"}
    response = send(client, "post", "/api/keys/", body)

    assert response.status_code == 400
    assert response.json() == {"team": ["The workspace has no team of this name."]}


def test_a_filter_reaches_no_other_tenant(client: Client, acme, umbra) -> None:
    client.force_login(acme.person("owner"))

    assert client.get("/api/keys/", {"workspace__name": "umbra"}).json()["count"] == 0
    assert client.get("/api/keys/", {"search": "umbra"}).json()["count"] == 0


@pytest.mark.parametrize("role", ROLES)
def test_each_role_changes_what_the_matrix_allows_and_nothing_else(client: Client, acme, role: str) -> None:
    client.force_login(acme.person(role))
    allowed = set()
    for name, attribute in OWNED:
        response = send(client, "patch", f"/api/{name}/{getattr(acme, attribute).pk}/")
        assert response.status_code in (200, 403), response.content
        if response.status_code == 200:
            allowed.add(name)

    assert allowed == {name for name, roles in CHANGERS.items() if role in roles}


@pytest.mark.parametrize("role", ROLES)
def test_members_read_the_catalogue_and_never_the_platform(client: Client, acme, role: str) -> None:
    shared = rows.platform()
    client.force_login(acme.person(role))

    assert [client.get(f"/api/{name}/").status_code for name in ("models", "routes", "prices")] == [200] * 3
    assert [client.get(f"/api/{name}/").status_code for name in ("providers", "credentials")] == [403] * 2
    for path in (f"models/{shared.model.pk}", f"routes/{shared.route.pk}", f"prices/{shared.price.pk}"):
        assert send(client, "patch", f"/api/{path}/").status_code == 403
    assert send(client, "patch", f"/api/credentials/{shared.credential.pk}/").status_code == 403


def test_an_owner_cannot_make_or_delete_a_workspace(client: Client, acme) -> None:
    client.force_login(acme.person("owner"))

    assert send(client, "post", "/api/workspaces/", {"name": "mine"}).status_code == 403
    assert client.delete(f"/api/workspaces/{acme.workspace.pk}/").status_code == 403


def test_somebody_without_a_role_sees_nothing(client: Client, acme) -> None:
    from django.contrib.auth.models import User

    client.force_login(User.objects.create(username="stranger", is_staff=True))

    for name in (*(name for name, _ in OWNED), "models", "schema", "docs"):
        assert client.get(f"/api/{name}/").status_code == 403


def test_without_a_login_everything_asks_for_one(client: Client, acme) -> None:
    for name in (*(name for name, _ in OWNED), "models", "schema", "docs"):
        assert client.get(f"/api/{name}/").status_code == 401


@pytest.mark.parametrize("role", ROLES)
def test_only_who_runs_a_workspace_purges_its_cache_and_nobody_takes_a_purge_back(
    client: Client, acme, umbra, role
) -> None:
    client.force_login(acme.person(role))
    may = role in CHANGERS["redaction-policies"]
    made = send(client, "post", "/api/cache-purges/", {"workspace": "acme", "what": "user", "name": "ann"})
    theirs = send(client, "post", "/api/cache-purges/", {"workspace": "umbra", "what": "all"})
    assert made.status_code == (201 if may else 403)
    assert theirs.status_code == (400 if may else 403)
    assert umbra.workspace.cache_purges.count() == 1
    assert client.get(f"/api/cache-purges/{umbra.purge.pk}/").status_code == 404
    for method in ("patch", "put", "delete"):
        assert send(client, method, f"/api/cache-purges/{acme.purge.pk}/").status_code in (403, 405)


@pytest.mark.parametrize("wrong", [{"what": "route"}, {"what": "all", "name": "x"}, {"what": "everything"}])
def test_a_purge_that_names_nothing_to_purge_is_refused_saying_why(client: Client, acme, wrong) -> None:
    client.force_login(acme.person("owner"))
    refused = send(client, "post", "/api/cache-purges/", {"workspace": "acme", **wrong})
    assert refused.status_code == 400
    assert "Name the route, prompt or end user" in refused.content.decode() or "what" in refused.json()
