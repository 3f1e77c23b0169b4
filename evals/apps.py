from django.apps import AppConfig
from django.db.models.signals import post_migrate


class EvalsConfig(AppConfig):
    name = "evals"
    verbose_name = "Evals and safety"

    def ready(self) -> None:
        from evals import append_only, receivers  # noqa: PLC0415 - app ready: models must be there

        post_migrate.connect(append_only.keep, sender=self, dispatch_uid="evals:keep")
        receivers.connect()
