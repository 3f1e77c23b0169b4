from typing import Any

from django.db import migrations

from budgets import append_only


def forwards(apps: Any, editor: Any) -> None:
    append_only.install(editor.connection)


def backwards(apps: Any, editor: Any) -> None:
    append_only.uninstall(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("budgets", "0003_ledger")]
    operations = [migrations.RunPython(forwards, backwards)]
