"""Form fields for what JSON columns hold, so that nobody has to write JSON, and for money and secrets."""

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelect2MultipleWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from gateway.core.money import dollars, nanos

MOST_NANOS = 2**63 - 1


class LinesField(forms.CharField):
    """A list of strings, one on each line."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("widget", UnfoldAdminTextareaWidget(attrs={"rows": 3}))
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(line) for line in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = (value or "").splitlines() if not isinstance(value, list) else value
        return [line.strip() for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class PercentsField(LinesField):
    """A list of whole per cents, written as 80, 90, 100."""

    default_error_messages = {"no_percent": "Write whole per cents with commas between them, like 80, 90, 100."}

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget())
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(part) for part in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        parts = value if isinstance(value, list) else (value or "").replace("%", "").split(",")
        try:
            return [int(part) for part in parts if str(part).strip()]
        except (TypeError, ValueError):
            raise forms.ValidationError(self.error_messages["no_percent"], code="no_percent") from None


class PickField(forms.MultipleChoiceField):
    """Some of a known set, as checkboxes."""

    def __init__(self, *, choices: Iterable[Any], **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminCheckboxSelectMultipleWidget)
        super().__init__(choices=choices, **kwargs)


class NamesField(forms.MultipleChoiceField):
    """Some of the names that exist now; names that were chosen before stay choosable. None stands for all."""

    def __init__(self, *, names: Callable[[], Iterable[str]], **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        self._names = names
        super().__init__(
            choices=lambda: [(name, name) for name in names()], widget=UnfoldAdminSelect2MultipleWidget(), **kwargs
        )

    def keep(self, chosen: Iterable[str] | None) -> None:
        """Let these be chosen too."""
        self.choices = [(name, name) for name in dict.fromkeys([*self._names(), *(chosen or ())])]

    def clean(self, value: Any) -> Any:
        return super().clean(value) or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or [], data or [])


class DollarsField(forms.CharField):
    """An amount of US dollars, kept as nano-dollars."""

    default_error_messages = {
        "no_amount": "Write dollars with a point, like 12.50.",
        "out_of_range": "Write an amount between 0 and 9,000,000,000 dollars.",
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}))
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return dollars(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or isinstance(value, int):
            return None if value in self.empty_values else value
        try:
            amount = nanos(str(value).strip().removeprefix("$").replace(",", ""))
        except (ValueError, ArithmeticError):
            raise forms.ValidationError(self.error_messages["no_amount"], code="no_amount") from None
        if not 0 <= amount <= MOST_NANOS:
            raise forms.ValidationError(self.error_messages["out_of_range"], code="out_of_range")
        return amount

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.to_python(data))
        except forms.ValidationError:
            return True


class SecretField(forms.CharField):
    """Written, never shown: the page holds at most the hint."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        kwargs.setdefault("strip", True)
        kwargs.setdefault(
            "widget",
            UnfoldAdminPasswordWidget(
                attrs={"autocomplete": "new-password", "spellcheck": "false"}, render_value=False
            ),
        )
        super().__init__(**kwargs)
