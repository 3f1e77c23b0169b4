"""Members and their roles, users, and admin tokens."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from tenants.models import AdminToken, Member
from tenants.roles import Access
from tenants.scoped.admin import ScopedAdmin, ScopedHistoryAdmin, access
from tenants.scoped.filters import ScopedRelatedFilter
from tenants.scoped.pages import confirm_page, secret_page
from tenants.services.members import check_role, find_person, remove_member, set_role
from tenants.services.tokens import issue_token, revoke_token


class MemberForm(forms.ModelForm):
    """A person is named exactly; the page lists nobody who is not a member."""

    by: Access
    person = forms.CharField(
        label="User",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="User name or e-mail address of someone who has an account here.",
    )

    class Meta:
        model = Member
        fields = ["workspace", "role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields.pop("person", None)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "person" in self.fields and cleaned.get("person"):
            self.instance.user = find_person(name_or_email=cleaned["person"])
            if Member.objects.filter(workspace=cleaned.get("workspace"), user=self.instance.user).exists():
                self.add_error("person", "This person is a member already; change their role in the list.")
        workspace = cleaned.get("workspace") or (None if self.instance._state.adding else self.instance.workspace)
        if workspace is not None and cleaned.get("role"):
            member = None if self.instance._state.adding else self.instance
            check_role(member=member, workspace_id=workspace.pk, role=cleaned["role"], by=self.by)
        return cleaned


@admin.register(Member)
class MemberAdmin(ScopedHistoryAdmin):
    """Who belongs to a workspace, and as what. docs/roles.md says what each role may do."""

    area = "members"
    form = MemberForm
    list_display = ["person", "workspace", "role_badge"]
    list_filter = [("workspace", ScopedRelatedFilter), ("role", ChoicesDropdownFilter)]
    list_select_related = ["workspace", "user"]
    search_fields = ["user__username", "user__email", "workspace__name"]
    autocomplete_fields = ["workspace"]
    add_fieldsets = [(None, {"fields": ["workspace", "person", "role"]})]
    fieldsets = [(None, {"fields": ["workspace", "user", "role"]})]
    readonly_fields = ["user"]
    next_step = "Superusers see everything without being members. Add the people who work in a workspace."

    def get_form(self, request: HttpRequest, obj: Member | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (form,), {"by": access(request)})

    def save_model(self, request: HttpRequest, obj: Member, form: MemberForm, change: bool) -> None:
        saved = set_role(workspace=obj.workspace, user=obj.user, role=obj.role, by=access(request))
        obj.pk = saved.pk
        obj._state.adding, obj._state.db = False, saved._state.db

    def delete_model(self, request: HttpRequest, obj: Member) -> None:
        try:
            remove_member(member=obj, by=access(request))
        except ValidationError as error:
            raise PermissionDenied(" ".join(error.messages)) from None

    @display(description="Person", header=True, ordering="user__username")
    def person(self, member: Member) -> list[str]:
        return [member.user.get_full_name() or member.user.username, member.user.email or member.user.username]

    @display(description="Role", label={"Owner": "primary", "Admin": "info"}, ordering="role")
    def role_badge(self, member: Member) -> str:
        return member.get_role_display()


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ScopedAdmin):
    """Accounts of people. What they may do follows from their memberships, so permissions are not shown here."""

    area = "platform"
    workspace_path = ""
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["name_and_address", "kind", "is_active", "last_login"]
    list_filter = ["is_superuser", "is_active"]
    search_fields = ["username", "email", "first_name", "last_name"]
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": [("first_name", "last_name"), "email"]}),
        ("Access", {"fields": [("is_active", "is_superuser"), ("last_login", "date_joined")]}),
    ]

    @display(description="User", header=True, ordering="username")
    def name_and_address(self, user: User) -> list[str]:
        return [user.get_full_name() or user.username, user.email or user.username]

    @display(description="Kind", label={"Superuser": "primary", "Member": "info"}, ordering="is_superuser")
    def kind(self, user: User) -> str:
        return "Superuser" if user.is_superuser else "Member"


class TokenForm(forms.ModelForm):
    class Meta:
        model = AdminToken
        fields = ["name", "is_read_only", "expires_at"]

    user: Any = None

    def clean(self) -> dict[str, Any]:
        if self.instance._state.adding:
            self.instance.user = self.user
        return super().clean()


@admin.register(AdminToken)
class AdminTokenAdmin(ScopedHistoryAdmin):
    """One's own tokens for /api/; superusers see and revoke everybody's."""

    area = "workspace"
    workspace_path = ""
    form = TokenForm
    list_display = ["name_and_hint", "user", "may", "state", "expires_at", "created_at"]
    list_filter = ["is_read_only"]
    list_select_related = ["user"]
    search_fields = ["name", "hint", "user__username"]
    fields = ["name", "is_read_only", "expires_at"]
    actions_detail = ["revoke"]
    next_step = "A script that uses /api/ needs a token. It may do what you may do, and no more."

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        rows = super().get_queryset(request)
        return rows if access(request).everywhere else rows.filter(user=request.user)

    def _may(self, request: HttpRequest, verb: Any, row: Model | None = None) -> bool:
        """Everybody who may enter: for their own."""
        if not request.user.is_active or not access(request).is_member:
            return False
        return row is None or access(request).everywhere or row.user_id == request.user.pk

    def has_delete_permission(self, request: HttpRequest, obj: AdminToken | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AdminToken | None = None) -> bool:
        """A token is revoked, never changed: nobody should wonder what an old one could do."""
        return False

    def get_form(self, request: HttpRequest, obj: AdminToken | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (form,), {"user": request.user})

    def save_model(self, request: HttpRequest, obj: AdminToken, form: TokenForm, change: bool) -> None:
        data = form.cleaned_data
        issued = issue_token(
            user=request.user, name=data["name"], is_read_only=data["is_read_only"], expires_at=data["expires_at"]
        )
        obj.pk, obj.user, obj.hint = issued.token.pk, request.user, issued.token.hint
        obj._state.adding, obj._state.db = False, issued.token._state.db
        request.issued_token = issued

    def response_add(self, request: HttpRequest, obj: AdminToken, post_url_continue: str | None = None) -> HttpResponse:
        secret = request.issued_token.secret
        address = request.build_absolute_uri("/api/workspaces/")
        example = f"curl {address} -H 'Authorization: Bearer {secret}'"
        return secret_page(request, self, obj, title=f"Token {obj.name} is made", secret=secret, example=example)

    @action(description="Revoke", icon="block", url_path="revoke", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404
        if request.method == "POST":
            revoke_token(token=token)
            messages.success(request, f"{token.name} is revoked.")
            return HttpResponseRedirect(reverse("admin:tenants_admintoken_changelist"))
        return confirm_page(request, self, token, title=f"Revoke {token.name}", button="Revoke for good", is_final=True)

    @display(description="Token", header=True, ordering="name")
    def name_and_hint(self, token: AdminToken) -> list[str]:
        return [token.name, f"…{token.hint}"]

    @display(description="May", label={"read only": "info", "all its user may": "primary"}, ordering="is_read_only")
    def may(self, token: AdminToken) -> str:
        return "read only" if token.is_read_only else "all its user may"

    @display(description="State", label={"Active": "success", "Revoked or expired": "danger"})
    def state(self, token: AdminToken) -> str:
        return "Active" if token.is_usable else "Revoked or expired"
