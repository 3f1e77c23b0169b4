"""The OpenAPI schema is valid, complete and kept: requests made from it never break the server or the schema."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from gateway.api.urls import router
from tenants.services.tokens import issue_token
from tests import rows

EXAMPLES = 2  # for each operation
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
]


def api() -> Any:
    """The schema as schemathesis reads it."""
    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": False}}})
    found = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True), config=config)
    found.app = WSGIHandler()
    return found


schema = api()


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


@pytest.fixture
def token(db) -> Iterator[str]:
    """What opens everything, in a world of two tenants. No request may close the connection that the test's rows are in."""
    rows.tenant("acme")
    rows.platform()
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield issue_token(user=rows.superuser(), name="schema").secret
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_server_or_the_schema(case: Any, token: str) -> None:
    case.call_and_validate(headers={"authorization": f"Bearer {token}"}, checks=CHECKS)
