"""Triggers that refuse to change what is recorded. audit/append_only.py says what they stop and what they do not."""

from django.db import migrations

from audit import append_only


def forwards(apps, editor):
    append_only.install(editor.connection, append_only.TABLES)


def backwards(apps, editor):
    append_only.uninstall(editor.connection, append_only.TABLES)


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
