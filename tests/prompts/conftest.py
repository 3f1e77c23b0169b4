"""A workspace with a prompt of two versions, written by Ada."""

import pytest
from django.contrib.auth.models import User

from prompts.models import Prompt, PromptVersion
from prompts.services.publishing import Words, save_version
from tenants.models import Workspace


def words(text: str, **more) -> Words:
    return Words(messages=[{"role": "user", "content": text}], **more)


@pytest.fixture
def ada(db) -> User:
    return User.objects.create(username="ada")


@pytest.fixture
def prompt(db) -> Prompt:
    return Prompt.objects.create(workspace=Workspace.objects.create(name="acme"), name="summary")


@pytest.fixture
def versions(prompt: Prompt, ada: User) -> list[PromptVersion]:
    return [save_version(prompt=prompt, words=words(f"{text} {{{{x}}}}"), author=ada) for text in ("one", "two")]
