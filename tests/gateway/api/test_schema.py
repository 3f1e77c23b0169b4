"""The OpenAPI schema is valid, complete and kept: requests made from it never break the server or the schema."""

import pytest
from django.core.management import call_command
from django.test import Client

from gateway.api.urls import router
from tests import rows

EXAMPLES = 2  # for each operation


def test_the_schema_is_valid_without_a_warning(tmp_path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))


@pytest.mark.django_db
def test_schema_and_documentation_load_from_here_alone(client: Client) -> None:
    client.force_login(rows.superuser())
    page = client.get("/api/docs/")
    script = client.get("/api/docs/", {"script": ""})

    assert page.status_code == script.status_code == 200
    assert b"https://" not in page.content + script.content
    assert b"http://" not in page.content + script.content
    assert client.get("/api/schema/").status_code == 200


@pytest.mark.django_db
def test_every_list_of_the_router_stands_in_the_schema(client: Client) -> None:
    client.force_login(rows.superuser())
    paths = client.get("/api/schema/", {"format": "json"}).json()["paths"]

    assert {f"/api/{prefix}/" for prefix, _, _ in router.registry} <= set(paths)


@pytest.mark.django_db
def test_no_answer_of_the_schema_has_a_secret_but_those_that_show_it_once(client: Client) -> None:
    client.force_login(rows.superuser())
    schemas = client.get("/api/schema/", {"format": "json"}).json()["components"]["schemas"]
    with_secret = {name for name, schema in schemas.items() if "secret" in schema.get("properties", {})}

    assert {name for name in with_secret if not name.endswith("Request")} == {"IssuedKey"}
