"""Who may do what: one matrix for the admin, the API and the services. docs/roles.md explains it in words.

A role is held in one workspace. Superusers stand above all workspaces and alone touch what all of them share
(providers, credentials, models, routes, prices, users).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["owner", "admin", "editor", "publisher", "reviewer", "finance", "viewer"]
Verb = Literal["view", "change", "publish", "review"]
Area = Literal[
    "workspace",  # its settings, teams and policies
    "members",
    "keys",  # API keys and rate limits
    "money",  # budgets and alerts
    "prompts",
    "evals",
    "calls",  # who called what, when, at what cost
    "bodies",  # what was said
    "changes",  # the audit trail of the configuration
    "catalogue",  # models, routes and prices, shared by all workspaces
    "platform",  # providers, credentials, users: superusers only
]

VIEW: frozenset[Verb] = frozenset({"view"})
CHANGE: frozenset[Verb] = frozenset({"view", "change"})
PUBLISH: frozenset[Verb] = frozenset({"view", "change", "publish"})
REVIEW: frozenset[Verb] = frozenset({"view", "review"})
ALL: frozenset[Verb] = frozenset({"view", "change", "publish", "review"})

_SEEN_BY_ALL: dict[Area, frozenset[Verb]] = {
    "workspace": VIEW,
    "members": VIEW,
    "keys": VIEW,
    "money": VIEW,
    "prompts": VIEW,
    "evals": VIEW,
    "calls": VIEW,
    "catalogue": VIEW,
}
_RUN_IT: dict[Area, frozenset[Verb]] = {
    "workspace": CHANGE,
    "members": CHANGE,
    "keys": CHANGE,
    "money": CHANGE,
    "prompts": ALL,
    "evals": CHANGE,
    "bodies": VIEW,
    "changes": VIEW,
}

MATRIX: Mapping[Role, Mapping[Area, frozenset[Verb]]] = {
    "owner": _SEEN_BY_ALL | _RUN_IT,
    "admin": _SEEN_BY_ALL | _RUN_IT,
    "editor": _SEEN_BY_ALL | {"prompts": CHANGE, "evals": CHANGE, "bodies": VIEW},
    "publisher": _SEEN_BY_ALL | {"prompts": PUBLISH, "evals": CHANGE, "bodies": VIEW},
    "reviewer": _SEEN_BY_ALL | {"prompts": REVIEW, "bodies": VIEW},
    "finance": _SEEN_BY_ALL | {"money": CHANGE},
    "viewer": _SEEN_BY_ALL,
}


@dataclass(frozen=True, slots=True)
class Access:
    """What one person may do. `roles` maps workspace id to role; `everywhere` is a superuser's."""

    everywhere: bool = False
    roles: Mapping[Any, str] = field(default_factory=dict)

    def may(self, verb: Verb, area: Area, workspace_id: Any = None) -> bool:
        """May they, in this workspace; or, without one, in at least one workspace?"""
        if self.everywhere:
            return True
        if workspace_id is not None:
            return _allows(self.roles.get(workspace_id), verb, area)
        return any(_allows(role, verb, area) for role in self.roles.values())

    def workspace_ids(self, verb: Verb, area: Area) -> frozenset[Any] | None:
        """Ids of the workspaces where they may; None stands for all."""
        if self.everywhere:
            return None
        return frozenset(id_ for id_, role in self.roles.items() if _allows(role, verb, area))

    @property
    def is_member(self) -> bool:
        """May they enter the web UI and the API at all?"""
        return self.everywhere or bool(self.roles)


def _allows(role: str | None, verb: Verb, area: Area) -> bool:
    return verb in MATRIX.get(role, {}).get(area, frozenset())  # type: ignore[call-overload]
