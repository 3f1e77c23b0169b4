"""One row that counts the changes of the configuration, so that every process can see that it is behind."""

from django.db import models


class Revision(models.Model):
    """The configuration's revision: raised in the transaction of every change, polled by every process."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    number = models.PositiveBigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="gateway_revision_is_one_row")]

    def __str__(self) -> str:
        return f"revision {self.number}"
