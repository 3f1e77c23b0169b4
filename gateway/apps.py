from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.db.models.signals import post_migrate


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"
    default = True

    def ready(self) -> None:
        from gateway import receivers  # noqa: PLC0415 - app ready: models must be loaded
        from gateway.services import erasure, vectors  # noqa: PLC0415 - app ready: models must be loaded

        receivers.connect()
        erasure.connect()
        post_migrate.connect(vectors.make_table, sender=self, dispatch_uid="gateway:vectors")


class WebUiConfig(admin.AdminConfig):
    """Django's admin with our own site: who may enter follows memberships, not the staff flag."""

    default = False
    default_site = "gateway.site.TollgateSite"
