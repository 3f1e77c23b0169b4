from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class PromptsConfig(AppConfig):
    name = "prompts"
    verbose_name = "Prompts"

    def ready(self) -> None:
        from prompts import append_only  # noqa: PLC0415 - app ready: settings must be there

        pre_migrate.connect(append_only.step_aside, sender=self, dispatch_uid="prompts:step_aside")
        post_migrate.connect(append_only.keep, sender=self, dispatch_uid="prompts:keep")
