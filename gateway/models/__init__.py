"""Where calls go: providers, models, routes, and the policies of a workspace's traffic."""

from gateway.models.likeness import Judgement
from gateway.models.policy import RedactionPolicy
from gateway.models.provider import Credential, Provider, ServedModel
from gateway.models.purge import CachePurge
from gateway.models.revision import Revision
from gateway.models.route import Route, RouteTarget

__all__ = [
    "CachePurge",
    "Credential",
    "Judgement",
    "Provider",
    "RedactionPolicy",
    "Revision",
    "Route",
    "RouteTarget",
    "ServedModel",
]
