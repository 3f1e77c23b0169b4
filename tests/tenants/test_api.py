"""Keys, members and tokens over /api/."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tenants.compiler import snapshot
from tenants.models import ApiKey, Member, key_digest_of
from tenants.services.tokens import issue_token, revoke_token
from tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(client: Client) -> rows.Tenant:
    acme = rows.tenant("acme")
    client.force_login(acme.person("owner"))
    return acme


def post(client: Client, path: str, body: dict | None = None, **headers: str):
    return client.post(path, json.dumps(body or {}), content_type="application/json", headers=headers)


def patch(client: Client, path: str, body: dict):
    return client.patch(path, json.dumps(body), content_type="application/json")


def test_a_new_keys_secret_is_in_the_answer_and_nowhere_after_it(client: Client, acme) -> None:
    made = post(client, "/api/keys/", {"workspace": "acme", "name": "web", "team": "acme-team"})
    assert made.status_code == 201
    body = made.json()
    key = ApiKey.objects.get(pk=body["id"])

    assert bytes(key.digest) == key_digest_of(body["secret"])
    assert (body["workspace"], body["team"], body["hint"]) == ("acme", "acme-team", body["secret"][-4:])
    again = client.get(f"/api/keys/{key.pk}/")
    assert "secret" not in again.json()
    assert body["secret"].encode() not in again.content + client.get("/api/keys/").content


def test_a_chosen_secret_is_taken_and_a_short_or_used_one_refused(client: Client, acme) -> None:
    made = post(client, "/api/keys/", {"workspace": "acme", "name": "web", "secret": "chosen-by-the-operator"})
    short = post(client, "/api/keys/", {"workspace": "acme", "name": "b", "secret": "short"})
    used = post(client, "/api/keys/", {"workspace": "acme", "name": "c", "secret": "chosen-by-the-operator"})

    assert made.json()["secret"] == "chosen-by-the-operator"
    assert (short.status_code, short.json()) == (400, {"secret": ["Ensure this field has at least 16 characters."]})
    assert (used.status_code, used.json()) == (400, {"secret": ["This secret is a key already; choose another."]})


def test_a_name_is_used_once_in_a_workspace(client: Client, acme) -> None:
    response = post(client, "/api/keys/", {"workspace": "acme", "name": "acme-key"})

    assert response.status_code == 400


def test_rotating_returns_a_new_secret_and_the_old_one_overlaps(client: Client, acme) -> None:
    response = post(client, f"/api/keys/{acme.key.pk}/rotate/", {"overlap_hours": 2})
    key = ApiKey.objects.get(pk=acme.key.pk)

    assert bytes(key.digest) == key_digest_of(response.json()["secret"])
    assert bytes(key.previous_digest) == key_digest_of(acme.secret)
    assert timedelta(hours=1, minutes=59) < key.previous_until - timezone.now() <= timedelta(hours=2)


def test_revoking_closes_the_key_and_its_overlap(client: Client, acme) -> None:
    post(client, f"/api/keys/{acme.key.pk}/rotate/")
    body = post(client, f"/api/keys/{acme.key.pk}/revoke/").json()
    key = ApiKey.objects.get(pk=acme.key.pk)

    assert body["is_usable"] is False
    assert key.previous_digest is None
    assert post(client, f"/api/keys/{acme.key.pk}/rotate/").status_code == 400


def test_a_key_is_never_deleted(client: Client, acme) -> None:
    assert client.delete(f"/api/keys/{acme.key.pk}/").status_code == 405


def test_an_empty_list_of_models_means_all(client: Client, acme) -> None:
    patch(client, f"/api/keys/{acme.key.pk}/", {"allowed_models": []})

    assert ApiKey.objects.get(pk=acme.key.pk).allowed_models is None


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"allowed_ips": ["10.0.0.0/99"]}, ["allowed_ips"]),
        ({"expires_at": "yesterday"}, ["expires_at"]),
        ({"secret": "another-secret-here"}, ["secret"]),
        ({"name": ""}, ["name"]),
    ],
)
def test_what_a_key_cannot_be_is_said_by_field(client: Client, acme, body: dict, errors: list[str]) -> None:
    response = patch(client, f"/api/keys/{acme.key.pk}/", body)

    assert response.status_code == 400
    assert list(response.json()) == errors


def test_money_goes_in_and_out_as_decimal_strings_and_never_as_numbers(client: Client, acme) -> None:
    path = f"/api/budgets/{acme.budget.pk}/"

    assert patch(client, path, {"limit_usd": "0.000000001"}).json()["limit_usd"] == "0.000000001"
    assert patch(client, path, {"limit_usd": 0.1}).status_code == 400
    assert patch(client, path, {"limit_usd": "1", "limit_tokens": 5}).json() == {
        "non_field_errors": ["A budget has a limit in dollars or in tokens: one of the two."]
    }


def test_an_owner_adds_a_person_by_name_or_address(client: Client, acme) -> None:
    umbra = rows.tenant("umbra")
    someone = umbra.person("viewer")
    response = post(client, "/api/members/", {"workspace": "acme", "user": someone.email.upper(), "role": "editor"})

    assert response.status_code == 201
    assert response.json()["user"] == someone.username


def test_nobody_but_an_owner_makes_an_owner(client: Client, acme) -> None:
    client.force_login(acme.person("admin"))
    viewer = Member.objects.get(user=acme.person("viewer"))
    owner = Member.objects.get(user=acme.person("owner"))

    assert patch(client, f"/api/members/{viewer.pk}/", {"role": "owner"}).status_code == 400
    assert patch(client, f"/api/members/{owner.pk}/", {"role": "viewer"}).status_code == 400
    assert client.delete(f"/api/members/{owner.pk}/").status_code == 400
    assert patch(client, f"/api/members/{viewer.pk}/", {"role": "admin"}).status_code == 200


def test_the_last_owner_stays(client: Client, acme) -> None:
    owner = Member.objects.get(user=acme.person("owner"))
    response = patch(client, f"/api/members/{owner.pk}/", {"role": "viewer"})

    assert response.status_code == 400
    assert response.json() == {"role": ["This is the workspace's last owner; make another one first."]}


@pytest.mark.parametrize("role", ["editor", "publisher", "reviewer", "finance", "viewer"])
def test_other_roles_cannot_raise_themselves(client: Client, acme, role: str) -> None:
    client.force_login(acme.person(role))
    me = Member.objects.get(user=acme.person(role))

    assert patch(client, f"/api/members/{me.pk}/", {"role": "owner"}).status_code == 403


def test_a_token_acts_as_its_person(acme) -> None:
    issued = issue_token(user=acme.person("viewer"), name="script")
    client = Client(headers={"authorization": f"Bearer {issued.secret}"})

    assert client.get("/api/keys/").json()["count"] == 1
    assert post(client, "/api/keys/", {"workspace": "acme", "name": "x"}).status_code == 403


def test_a_token_that_only_reads_changes_nothing_even_for_an_owner(acme) -> None:
    issued = issue_token(user=acme.person("owner"), name="script", is_read_only=True)
    client = Client(headers={"authorization": f"Bearer {issued.secret}"})

    assert client.get("/api/keys/").status_code == 200
    assert post(client, "/api/keys/", {"workspace": "acme", "name": "x"}).status_code == 403
    assert post(client, f"/api/keys/{acme.key.pk}/revoke/").status_code == 403


def test_revoked_expired_and_unknown_tokens_and_inactive_people_are_refused(acme) -> None:
    person = acme.person("viewer")
    revoked = issue_token(user=person, name="a")
    revoke_token(token=revoked.token)
    expired = issue_token(user=person, name="b", expires_at=timezone.now() - timedelta(seconds=1))
    good = issue_token(user=person, name="c")

    def ask(secret: str) -> int:
        return Client(headers={"authorization": f"Bearer {secret}"}).get("/api/keys/").status_code

    assert [ask(secret) for secret in (revoked.secret, expired.secret, "tgadm_none", "")] == [401] * 4
    person.is_active = False
    person.save()
    assert ask(good.secret) == 401


def test_a_key_of_v1_does_not_open_the_api(acme) -> None:
    asked = [
        Client(headers={"authorization": f"Bearer {acme.secret}"}).get("/api/keys/"),
        Client(headers={"x-api-key": acme.secret}).get("/api/keys/"),
        Client(headers={"api-key": acme.secret}).get("/api/keys/"),
    ]

    assert [response.status_code for response in asked] == [401] * 3


def test_a_session_needs_the_csrf_token_to_write(acme) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.person("owner"))

    assert post(client, f"/api/keys/{acme.key.pk}/revoke/").status_code == 403


def test_an_admin_blocks_end_users_and_lets_them_in_again(client: Client, acme) -> None:
    path = f"/api/workspaces/{acme.workspace.pk}/"
    assert patch(client, path, {"blocked_users": ["mallory"]}).json()["blocked_users"] == ["mallory"]
    assert snapshot(counters=None).keys[bytes(acme.key.digest)].workspace.blocked_users == {"mallory"}
    assert patch(client, path, {"blocked_users": [""]}).status_code == 400
    assert patch(client, path, {"blocked_users": "mallory"}).status_code == 400
    assert patch(client, path, {"blocked_users": []}).json()["blocked_users"] == []


def test_end_users_are_blocked_in_the_workspaces_form_one_a_line(client: Client, acme) -> None:
    page = f"/admin/tenants/workspace/{acme.workspace.pk}/change/"
    form = client.get(page).context["adminform"].form
    sent = {name: value for name, value in form.initial.items() if value not in (None, False)}
    inline = {"teams-TOTAL_FORMS": 0, "teams-INITIAL_FORMS": 0}
    answer = client.post(page, {**sent, **inline, "blocked_users": "mallory\n\n ann@example.org \n"})
    assert answer.status_code == 302, answer.context["errors"]
    acme.workspace.refresh_from_db()
    assert acme.workspace.blocked_users == ["mallory", "ann@example.org"]
