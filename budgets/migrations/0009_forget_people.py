from django.db import migrations


class Migration(migrations.Migration):
    """Takes the names of people out of the history of raises, which can't be made to forget them."""

    dependencies = [("budgets", "0008_total_of_subject")]
    operations = [
        migrations.RemoveField(model_name="historicalraise", name=name)
        for name in ("subject", "subject_name", "asked_by", "reason")
    ]
