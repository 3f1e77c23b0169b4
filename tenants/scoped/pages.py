"""Two pages that actions share: "are you sure?" and "this is the secret, once"."""

from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse


def confirm_page(
    request: HttpRequest, page: Any, row: Model, *, title: str, button: str, **context: Any
) -> TemplateResponse:
    """A page that says what is about to happen and asks. `explanation`, `form` and `is_final` are optional."""
    return _render(request, page, row, "tollgate/confirm.html", {"title": title, "button": button, **context})


def secret_page(
    request: HttpRequest, page: Any, row: Model, *, title: str, secret: str, **context: Any
) -> TemplateResponse:
    """The only page that ever shows this secret. It is kept nowhere and must not be cached."""
    response = _render(request, page, row, "tollgate/secret_once.html", {"title": title, "secret": secret, **context})
    response.headers["Cache-Control"] = "no-store"
    return response


def _render(request: HttpRequest, page: Any, row: Model, template: str, context: dict[str, Any]) -> TemplateResponse:
    opts = page.model._meta
    return TemplateResponse(
        request,
        template,
        {
            **page.admin_site.each_context(request),
            "opts": opts,
            "original": row,
            "back": reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist"),
            "row_url": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[row.pk]),
            **context,
        },
    )


class NoFields(forms.Form):
    """For a question whose only answer is yes."""
