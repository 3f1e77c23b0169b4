"""Prompts over /api/: what they say, what is served where, and the rules of channels and webhooks."""

from prompts.api import prompts, rules

ROUTES = (*prompts.ROUTES, *rules.ROUTES)
