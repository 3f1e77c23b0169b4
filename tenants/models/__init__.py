"""Who calls, and under which house rules."""

from tenants.models.keys import ApiKey, key_digest_of
from tenants.models.limits import RateLimit
from tenants.models.tokens import AdminToken
from tenants.models.workspaces import Member, Team, Workspace

__all__ = ["AdminToken", "ApiKey", "Member", "RateLimit", "Team", "Workspace", "key_digest_of"]
