"""List filters that offer only what the person may see."""

from typing import Any

from django.http import HttpRequest
from unfold.contrib.filters.admin import RelatedDropdownFilter

MOST_CHOICES = 300


class ScopedRelatedFilter(RelatedDropdownFilter):  # type: ignore[misc]
    """A dropdown of related rows, from the related page's own list. Django's would name every tenant's."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        related = field.remote_field.model
        site = model_admin.admin_site
        if not site.is_registered(related):
            return []
        rows = site.get_model_admin(related).get_queryset(request)
        return [(row.pk, str(row)) for row in rows[:MOST_CHOICES]]
