"""`manage.py explain`: a dry run through the saved configuration."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from gateway.models import Provider, Route, RouteTarget, ServedModel
from tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant():
    provider = Provider.objects.create(name="p", kind="openai_compatible", base_url="http://127.0.0.1:9/v1")
    route = Route.objects.create(name="answers")
    for position, (name, conditions) in enumerate(
        [("eyes", [{"field": "has_image", "is": True}]), ("plain", [])],
    ):
        model = ServedModel.objects.create(name=name, provider=provider, upstream=name)
        RouteTarget.objects.create(route=route, model=model, position=position, conditions=conditions)
    return rows.tenant("acme")


def explain(*arguments: str) -> str:
    out = StringIO()
    call_command("explain", "--workspace", "acme", *arguments, stdout=out)
    return out.getvalue()


def test_it_says_which_targets_a_call_would_go_to_and_which_not(tenant):
    lines = explain("--model", "answers", "--key", tenant.key.name).splitlines()
    assert lines == [
        f"answers → route answers (priority), as acme/{tenant.key.name}",
        "  1. plain at p, no price known",
        "  –  eyes at p: is for has_image is true; here it is false",
    ]


def test_it_speaks_json(tenant):
    found = json.loads(explain("--model", "answers", "--json"))
    assert [each["model"] for each in found["targets"]] == ["plain"]
    assert [each["model"] for each in found["left_out"]] == ["eyes"]


def test_it_says_what_a_caller_would_be_told(tenant):
    with pytest.raises(CommandError, match="404 model_not_found"):
        explain("--model", "nothing")
    with pytest.raises(CommandError, match="has no usable key 'none'"):
        explain("--model", "answers", "--key", "none")
