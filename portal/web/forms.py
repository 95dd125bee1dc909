"""Forms that say what to do, and the fields that several areas need."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, cast

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import HttpRequest, QueryDict

from portal.lib.csv_table import Shape
from portal.lib.errors import ChangedMeanwhile, RuleBroken, as_seen
from portal.lib.money import MAX_NANO, NANO, from_nano, to_nano

SENTENCES: Mapping[str, str] = {
    "required": "Fill this in.",
    "invalid_choice": "Choose one from the list.",
    "max_length": "Use at most %(limit_value)d characters.",
    "min_length": "Use at least %(limit_value)d characters.",
    "max_value": "Enter %(limit_value)s or less.",
    "min_value": "Enter %(limit_value)s or more.",
}
"""Code of an error → what a person should do. A field's own message comes first."""


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what was sent to a form, also when it is empty; None when the form is only shown."""
    return request.POST if request.method == "POST" else None


class PortalForm(forms.Form):
    """Base of the portal's forms: nothing is checked by the browser, so that every error is told the same way."""

    use_required_attribute = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            usual = _usual_messages(field)
            for code, sentence in SENTENCES.items():
                if field.error_messages.get(code) == usual.get(code):
                    field.error_messages[code] = sentence

    def add_broken_rule(self, broken: RuleBroken) -> None:
        """Show a refusal by a service beside its field, or above the form."""
        self.add_error(broken.field if broken.field in self.fields else None, broken.message)


class EditForm(PortalForm):
    """A form that changes something that exists and remembers what the person saw, so that nobody overwrites blindly.

    ``current`` are the values as the object holds them, by the name of the field. The service gets ``form.seen`` and
    calls ``portal.lib.errors.refuse_if_changed`` under its lock; the view shows a refusal by ``add_broken_rule``.
    Draw ``{{ form.seen_field }}`` inside the form.
    """

    salt = "portal.web.forms.seen"

    def __init__(self, *args: Any, current: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **{"initial": current, **kwargs})
        self.current = current
        self.fields["seen"] = forms.CharField(required=False, widget=forms.HiddenInput)
        self.see()

    def see(self) -> None:
        """Note what the form shows; call it again after fields were taken out."""
        self.initial = {**self.initial, "seen": self._signed(self.current)}

    @property
    def seen_field(self) -> forms.BoundField:
        """The hidden field that carries what was seen."""
        return self["seen"]

    @property
    def seen(self) -> dict[str, Any] | None:
        """What the person saw, for the service; None when the form was not sent from a page."""
        text = self.data.get(self.add_prefix("seen"), "")
        if not text:
            return None
        try:
            found: dict[str, Any] = signing.loads(text, salt=self.salt)
        except signing.BadSignature:
            return {name: "" for name in self.current if name in self.fields}
        return found

    @property
    def values(self) -> dict[str, Any]:
        """What was entered, without what the form keeps for itself."""
        return {name: value for name, value in self.cleaned_data.items() if name != "seen"}

    def add_broken_rule(self, broken: RuleBroken) -> None:
        """Show a refusal; one of a later save with both values, and saving again then replaces them knowingly."""
        if not isinstance(broken, ChangedMeanwhile):
            return super().add_broken_rule(broken)
        seen, entered = self.seen or {}, self.values
        self.add_error(None, broken.message)
        data = cast(QueryDict, self.data).copy()
        for name, now in broken.now.items():
            if name not in self.fields:
                continue
            if as_seen(entered.get(name)) == seen.get(name):
                # Nothing was typed here, so nothing is lost: the form goes on with the new value.
                data[self.add_prefix(name)] = self.typed(name, now)
                sentence = f"Changed meanwhile, now {self.shown(name, now)}. The form has the new value."
            else:
                both = self.shown(name, now), self.shown(name, entered.get(name))
                sentence = "Changed meanwhile, now {}. You entered {}.".format(*both)
            self.add_error(name, sentence)
        data[self.add_prefix("seen")] = self._signed({**self.current, **broken.now})
        self.data = data
        return None

    def typed(self, name: str, value: Any) -> Any:
        """Return a value of the object as a person would enter it."""
        return self.fields[name].prepare_value(value) if value is not None else ""

    def shown(self, name: str, value: Any) -> str:
        """Return a value of a field in words."""
        if value in (None, "", []):
            return "empty"
        choices = dict(getattr(self.fields[name], "choices", []))
        if not isinstance(value, list | tuple) and not hasattr(value, "pk"):
            value = choices.get(value, value)
        words = ", ".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)
        return f"“{words}”"

    def _signed(self, values: Mapping[str, Any]) -> str:
        seen = {name: as_seen(value) for name, value in values.items() if name in self.fields}
        return signing.dumps(seen, salt=self.salt, compress=True)


def _usual_messages(field: forms.Field) -> dict[str, Any]:
    usual: dict[str, Any] = {}
    for kind in reversed(type(field).__mro__):
        usual |= getattr(kind, "default_error_messages", {})
    return usual


class MoneyField(forms.Field):
    """An amount that a person types (``4,500`` or ``$4500.50``), as whole nano-units; empty is None."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    default_error_messages = {
        "invalid": "Enter an amount, such as 4,500 or 0.25.",
        "negative": "Enter 0 or more.",
        "digits": "Use at most nine digits after the decimal point.",
        "large": "Enter a smaller amount.",
    }

    def to_python(self, value: Any) -> int | None:
        """Return nano-units, or None for nothing."""
        text = (
            str(value if value is not None else "").strip().lstrip("$€£¥₹").replace(",", "").replace(" ", "")
        )
        if not text:
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None
        if not amount.is_finite():
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if amount < 0:
            raise ValidationError(self.error_messages["negative"], code="negative")
        if amount > MAX_NANO // NANO:
            raise ValidationError(self.error_messages["large"], code="large")
        try:
            return to_nano(amount)
        except ValueError:
            raise ValidationError(self.error_messages["digits"], code="digits") from None

    def prepare_value(self, value: Any) -> Any:
        """Return nano-units as a person would type them; what was typed stays as it is."""
        if not isinstance(value, int):
            return value
        amount = from_nano(value)
        cents = amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
        if amount == cents:
            return f"{cents:,}".removesuffix(".00")
        return f"{amount.normalize():,f}"

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare amounts, not how they are written."""
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


class CountField(forms.IntegerField):
    """A whole number that a person may type with separators: ``6,000``."""

    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})
    default_error_messages = {"invalid": "Enter a whole number, such as 6,000."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"min_value": 0, "max_value": 10**15, **kwargs})

    def to_python(self, value: Any) -> int | None:
        """Return the number, or None for nothing."""
        return super().to_python(value.replace(",", "").replace(" ", "") if isinstance(value, str) else value)

    def prepare_value(self, value: Any) -> Any:
        """Return the number with separators."""
        return f"{value:,}" if isinstance(value, int) else value


class CsvForm(PortalForm):
    """A table as CSV: a file, or its lines pasted."""

    file = forms.FileField(
        label="CSV file",
        required=False,
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
        error_messages={"empty": "The file is empty."},
    )
    text = forms.CharField(
        label="Or paste its lines",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "autocapitalize": "none"}),
    )

    def __init__(self, *args: Any, shape: Shape, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shape = shape
        self.fields[
            "file"
        ].help_text = (
            f"UTF-8, at most {shape.most_lines} lines. You see what would be created before anything is."
        )

    def clean(self) -> dict[str, Any]:
        """Return one of both."""
        given = super().clean() or {}
        file, text = given.get("file"), (given.get("text") or "").strip()
        if not file and not text and "file" not in self.errors:
            self.add_error("file", "Choose a file, or paste its lines.")
        elif file and text:
            self.add_error("text", "Choose a file or paste lines, not both.")
        return given

    @property
    def content(self) -> bytes:
        """What was sent, as far as it is to be read."""
        file = self.cleaned_data["file"]
        found: bytes = file.read(self.shape.most_bytes + 1) if file else self.cleaned_data["text"].encode()
        return found
