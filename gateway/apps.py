from django.apps import AppConfig
from django.contrib.admin import apps as admin


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"
    default = True

    def ready(self) -> None:
        from gateway import receivers  # noqa: PLC0415 - app ready: models must be loaded
        from gateway.services import erasure  # noqa: PLC0415 - app ready: models must be loaded

        receivers.connect()
        erasure.connect()


class WebUiConfig(admin.AdminConfig):
    """Django's admin with our own site: who may enter follows memberships, not the staff flag."""

    default = False
    default_site = "gateway.site.TollgateSite"
