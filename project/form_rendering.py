"""How forms are rendered: templates of this project, errors at their fields, and the focus on the first of them."""

from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting


class FocusedBoundField(BoundField):
    """In a form that was refused, the first invalid field has the focus, and no other."""

    def build_widget_attrs(self, attrs: dict[str, Any], widget: forms.Widget | None = None) -> dict[str, Any]:
        attrs = super().build_widget_attrs(attrs, widget)
        if invalid := self._first_invalid():
            attrs["autofocus"] = self.name == invalid
        return attrs

    def _first_invalid(self) -> str | None:
        if not self.form.is_bound:
            return None
        return next((field.name for field in self.form.visible_fields() if field.name in self.form.errors), None)


class Renderer(TemplatesSetting):
    """The FORM_RENDERER. Forms of the admin site have templates of their own."""

    form_template_name = "forms/form.html"
    field_template_name = "forms/field.html"
    bound_field_class = FocusedBoundField
