from typing import Any

from django.db import migrations

from prompts import append_only


def forwards(apps: Any, editor: Any) -> None:
    append_only.install(editor.connection)


def backwards(apps: Any, editor: Any) -> None:
    append_only.uninstall(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("prompts", "0004_publishing")]
    operations = [migrations.RunPython(forwards, backwards)]
