"""The web UI: pages of the gateway's own rows, the home page, and the frame around all pages."""

from gateway.admin import policies, providers, purges, routes, schedules, status

__all__ = ["policies", "providers", "purges", "routes", "schedules", "status"]
