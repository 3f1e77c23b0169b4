"""Which channels are protected, and who may let versions onto them."""

from django import forms
from django.contrib import admin

from prompts.models import Channel
from tenants.scoped.admin import ScopedHistoryAdmin
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.forms import LinesField


class ChannelForm(forms.ModelForm):
    publishers = LinesField(help_text="User names, one a line. None: everybody whose role lets them publish.")
    reviewers = LinesField(help_text="User names, one a line. None: everybody whose role lets them review.")
    required_suites = LinesField(help_text="Names of suites that must have passed for the version, one a line.")

    class Meta:
        model = Channel
        fields = [
            *("workspace", "name", "is_protected", "required_approvals", "allow_self_approval"),
            *("required_suites", "publishers", "reviewers"),
        ]


@admin.register(Channel)
class ChannelAdmin(ScopedHistoryAdmin):
    """Rules of a channel for all prompts of a workspace. A channel without rules needs none of them."""

    area = "workspace"
    form = ChannelForm
    list_display = ["name", "workspace", "is_protected", "required_approvals", "allow_self_approval"]
    list_filter = [("workspace", ScopedRelatedFilter), "is_protected"]
    list_select_related = ["workspace"]
    search_fields = ["name", "workspace__name"]
    autocomplete_fields = ["workspace"]
    next_step = "Protect production, and a version needs somebody else's approval before it is served there."
    fieldsets = [
        (None, {"fields": ["workspace", "name", "is_protected"]}),
        ("What a version needs", {"fields": ["required_approvals", "allow_self_approval", "required_suites"]}),
        ("Who may", {"fields": ["publishers", "reviewers"]}),
    ]
