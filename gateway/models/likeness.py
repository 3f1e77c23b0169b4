"""What people said of two questions that the semantic cache found more or less alike."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from gateway.models.route import Route
from tenants.models import Workspace


class Judgement(models.Model):
    """Somebody's word on one pair: how alike it was, and whether both mean the same. The texts are kept nowhere.

    `call_id` is the call that was answered, or nearly, with another question's answer; empty for a pair that was tried
    on the page. `workspace` is that call's; empty for a pair that somebody above all workspaces tried.
    """

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="judgements")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    call_id = models.CharField(max_length=40, blank=True, default="")
    likeness = models.FloatField(validators=[MinValueValidator(-1), MaxValueValidator(1)])
    is_same = models.BooleanField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "judgement of likeness"
        verbose_name_plural = "judgements of likeness"
        ordering = ["-at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["route", "call_id"], condition=~models.Q(call_id=""), name="gateway_judgement_one_of_a_call"
            )
        ]

    def __str__(self) -> str:
        return f"{self.likeness:.3f} {'the same' if self.is_same else 'another'}"
