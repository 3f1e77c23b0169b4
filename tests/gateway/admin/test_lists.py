"""A list asks the database as often for three rows as for one."""

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway.models import Provider, Route, RouteTarget, ServedModel
from tenants.services.tokens import issue_token
from tests import rows

pytestmark = pytest.mark.django_db

# Session, user, and what the page itself asks.
QUERIES = {
    "auth.User": 5,
    "budgets.AlertChannel": 6,
    "budgets.Budget": 6,
    "budgets.Price": 7,
    "evals.Guardrail": 6,
    "evals.Suite": 6,
    "gateway.Credential": 6,
    "gateway.Provider": 5,
    "gateway.RedactionPolicy": 6,
    "gateway.Revision": 5,
    "gateway.Route": 6,
    "gateway.ServedModel": 6,
    "prompts.Prompt": 7,
    "tenants.AdminToken": 5,
    "tenants.ApiKey": 7,
    "tenants.Member": 6,
    "tenants.RateLimit": 6,
    "tenants.Team": 6,
    "tenants.Workspace": 5,
}


def furnish(number: int) -> None:
    """The world once more, under names of its own."""
    tenant = rows.tenant(f"tenant{number}")
    tenant.person("viewer")
    issue_token(user=tenant.person("viewer"), name="script")
    provider = Provider.objects.create(name=f"provider{number}", kind="demo")
    rows.store_credential(provider=provider, name="main", secret="sk-of-a-provider")
    models = [
        ServedModel.objects.create(name=f"m{number}{n}", provider=provider, upstream="x") for n in range(number + 1)
    ]
    route = Route.objects.create(name=f"route{number}")
    for model in models:
        RouteTarget.objects.create(route=route, model=model)
    rows.Price.objects.create(model=f"m{number}0", input_nanos=1)


@pytest.mark.parametrize("tenants", [1, 3])
def test_a_list_asks_as_often_whatever_its_length(client: Client, tenants: int) -> None:
    client.force_login(rows.superuser())
    for number in range(tenants):
        furnish(number)
    counted = {}
    for model in admin.site._registry:
        if model._meta.label in QUERIES:
            path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(path).status_code == 200
            counted[model._meta.label] = len(queries)

    assert counted == QUERIES
