"""Reading what calls left behind, for pages and for what watches experiments."""

from gateway.queries.redaction import Found, redaction_found

__all__ = ["Found", "redaction_found"]
