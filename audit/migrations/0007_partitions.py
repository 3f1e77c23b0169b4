"""On PostgreSQL, call records in one partition for each month. audit/partitions.py says how; SQLite stays as it is."""

from django.db import migrations

from audit import append_only, partitions

CALLS = append_only.TABLES[:1]


def forwards(apps, editor):
    if editor.connection.vendor == "postgresql" and not partitions.is_divided(editor.connection):
        append_only.uninstall(editor.connection, CALLS)
        partitions.divide(editor.connection)
        append_only.install(editor.connection, CALLS)


def backwards(apps, editor):
    if partitions.is_divided(editor.connection):
        append_only.uninstall(editor.connection, CALLS)
        partitions.join(editor.connection)
        append_only.install(editor.connection, CALLS)


class Migration(migrations.Migration):
    dependencies = [("audit", "0006_sums")]
    operations = [migrations.RunPython(forwards, backwards)]
