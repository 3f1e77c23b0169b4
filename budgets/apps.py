from django.apps import AppConfig
from django.db.models.signals import post_migrate


class BudgetsConfig(AppConfig):
    name = "budgets"
    verbose_name = "Budgets"

    def ready(self) -> None:
        from budgets import append_only  # noqa: PLC0415 - app ready: settings must be there

        post_migrate.connect(append_only.keep, sender=self)
