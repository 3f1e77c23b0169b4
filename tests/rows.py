"""A small world as rows: two tenants with everything in each, so that whatever could leak is there to leak.

Names of the second tenant's rows begin with "umbra", of the first one's with "acme".
"""

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User

from budgets.models import AlertChannel, Budget, Price
from evals.models import Case, Guardrail, Suite
from gateway.models import CachePurge, Credential, Provider, RedactionPolicy, Route, RouteTarget, ServedModel
from gateway.services.credentials import store_credential
from prompts.models import Channel, Deployment, Prompt, PromptVersion, Webhook
from tenants.models import ApiKey, Member, RateLimit, Team, Workspace
from tenants.services.keys import KeyTerms, issue_key


@dataclass
class Tenant:
    """A workspace with one of everything. `secret` opens its key."""

    workspace: Workspace
    team: Team
    key: ApiKey
    secret: str
    limit: RateLimit
    budget: Budget
    channel: AlertChannel
    redaction: RedactionPolicy
    guardrail: Guardrail
    purge: CachePurge
    prompt: Prompt
    suite: Suite
    rules: Channel
    webhook: Webhook
    people: dict[str, User] = field(default_factory=dict)

    def person(self, role: str) -> User:
        """The member of this role, made when first asked for."""
        if role not in self.people:
            name = f"{self.workspace.name}-{role}"
            user = User.objects.create(username=name, email=f"{name}@example.com")
            Member.objects.create(workspace=self.workspace, user=user, role=role)
            self.people[role] = user
        return self.people[role]


def tenant(name: str) -> Tenant:
    """A workspace of this name and one row of everything in it."""
    workspace = Workspace.objects.create(name=name)
    team = Team.objects.create(workspace=workspace, name=f"{name}-team")
    issued = issue_key(workspace=workspace, name=f"{name}-key", terms=KeyTerms(team=team))
    prompt = Prompt.objects.create(workspace=workspace, name=f"{name}-prompt", description=f"{name} words")
    version = PromptVersion.objects.create(
        prompt=prompt, number=1, digest="0" * 64, messages=[{"role": "user", "content": f"{name} says {{{{text}}}}"}]
    )
    Deployment.objects.create(prompt=prompt, channel="production", seq=1, version=version)
    suite = Suite.objects.create(workspace=workspace, name=f"{name}-suite", prompt=prompt.name, gate={})
    Case.objects.create(suite=suite, name=f"{name}-case", inputs={"text": "cat"}, assertions=[])
    return Tenant(
        workspace=workspace,
        team=team,
        key=issued.key,
        secret=issued.secret,
        limit=RateLimit.objects.create(workspace=workspace, of="key", match=f"{name}-key", amount=60),
        budget=Budget.objects.create(workspace=workspace, name=f"{name}-budget", of="workspace", limit_nanos=10**9),
        channel=AlertChannel.objects.create(workspace=workspace, kind="webhook", url=f"https://{name}.example/hook"),
        redaction=RedactionPolicy.objects.create(workspace=workspace, detect=["email"]),
        guardrail=Guardrail.objects.create(workspace=workspace, kind="blocked_words", words=[f"{name}-word"]),
        purge=CachePurge.objects.create(workspace=workspace, what="route", name=f"{name}-route"),
        prompt=prompt,
        suite=suite,
        rules=Channel.objects.create(workspace=workspace, name=f"{name[:32]}-channel"),
        webhook=Webhook.objects.create(workspace=workspace, url=f"https://{name}.example/prompts"),
    )


@dataclass
class Platform:
    """What all workspaces share."""

    provider: Provider
    credential: Credential
    model: ServedModel
    route: Route
    price: Price


def platform(**provider: Any) -> Platform:
    """A provider with a credential, a model, a price and a route."""
    row = Provider.objects.create(**{"name": "main", "kind": "demo", **provider})
    credential = store_credential(provider=row, name="first", secret="sk-very-secret-1234")
    model = ServedModel.objects.create(name="small", provider=row, upstream="small-1")
    route = Route.objects.create(name="chat", description="for the app")
    RouteTarget.objects.create(route=route, model=model)
    price = Price.objects.create(model="small", input_nanos=150_000_000, output_nanos=600_000_000)
    return Platform(row, credential, model, route, price)


def superuser(name: str = "root") -> User:
    """Somebody above all workspaces."""
    return User.objects.create(username=name, email=f"{name}@example.com", is_superuser=True, is_staff=True)
