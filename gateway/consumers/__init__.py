"""What pages show live: websockets below /ws/, for people who are logged in, from this installation's own pages."""

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from gateway.consumers.calls import CallsConsumer
from gateway.consumers.health import HealthConsumer

page_sockets = AllowedHostsOriginValidator(
    AuthMiddlewareStack(
        URLRouter([path("ws/health/", HealthConsumer.as_asgi()), path("ws/calls/", CallsConsumer.as_asgi())])
    )
)
