"""The pages of workspaces, teams, members, keys, limits and admin tokens."""

from tenants.admin import keys, people, workspaces

__all__ = ["keys", "people", "workspaces"]
