"""Template tags: what they draw, and that nothing a person wrote becomes markup."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django import forms
from django.template import Context, Template

from portal.lib.errors import RuleBroken
from portal.web.forms import PortalForm

HOSTILE = "<img src=x onerror=alert(1)>\"'"


def draw(text: str, **context: Any) -> str:
    shell = SimpleNamespace(currency="EUR", time_zone="Europe/Berlin")
    return Template("{% load portal %}" + text).render(Context({"shell": shell, **context}))


def test_money_stands_beside_its_limit() -> None:
    html = draw("{% spend spent limit %}", spent=5214_080_000_000, limit=6000 * 10**9)
    assert 'class="spend warn"' in html
    assert "€5,214.08 <small>of €6,000</small>" in html
    assert "87%" in html
    assert 'width="86.90%"' in html


def test_money_without_a_limit_says_so() -> None:
    assert "no limit of its own" in draw("{% spend spent None %}", spent=10**9)


def test_a_limit_of_nothing_is_used_up() -> None:
    html = draw("{% spend 0 0 %}")
    assert 'class="spend bad"' in html
    assert "100%" in html


def test_a_limit_with_cents_shows_them() -> None:
    assert draw("{% round_money limit %}", limit=99_500_000_000) == "€99.50"


def test_an_unknown_amount_is_a_dash() -> None:
    assert draw("{% money amount %}", amount=None) == "–"


@pytest.mark.parametrize("tag", ["icon word", "badge word", 'badge "x" "" word', "icon word word"])
def test_text_is_escaped(tag: str) -> None:
    html = draw("{% " + tag + " %}", word=HOSTILE)
    assert "<img" not in html
    assert html.count('"') % 2 == 0


def test_a_badge_has_an_icon_and_a_word() -> None:
    html = draw('{% badge "Near limit" "warn" %}')
    assert 'class="badge warn"' in html
    assert 'href="#i-triangle-alert"' in html
    assert "Near limit" in html


def test_a_moment_has_a_machine_form_and_the_full_moment() -> None:
    at = datetime(2026, 11, 21, 15, 8, tzinfo=UTC)
    html = draw("{% when at %}", at=at)
    assert 'datetime="2026-11-21T15:08:00+00:00"' in html
    assert 'title="21 November 2026, 16:08:00 Europe/Berlin"' in html
    assert draw('{% ago at "not used" %}', at=None) == '<span class="muted">not used</span>'


class SampleForm(PortalForm):
    code = forms.SlugField(label="Code", help_text="Small letters.", max_length=4)
    daily = forms.DecimalField(label=HOSTILE, max_value=4000, required=False)
    kind = forms.ChoiceField(label="Kind", choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)
    tell = forms.BooleanField(label="Tell owners", help_text="By email.", required=False)


def test_a_field_ties_label_error_and_help_to_its_control() -> None:
    form = SampleForm({"code": "bad code", "daily": "9000"})
    html = draw("{% field form.code %}", form=form)
    assert '<label for="id_code">' in html
    assert 'aria-invalid="true"' in html
    assert 'aria-describedby="id_code_helptext id_code_error"' in html
    assert 'id="id_code_helptext"' in html
    assert 'id="id_code_error"' in html
    assert html.index("id_code_error") < html.rindex('id="id_code_helptext"')


def test_units_stand_inside_the_control_and_optional_is_marked() -> None:
    html = draw('{% field form.daily prefix="€" suffix="per day" %}', form=SampleForm())
    assert '<div class="affix"><span>€</span>' in html
    assert "<small>(optional)</small>" in html
    assert "<img" not in html


def test_choices_are_a_group_and_a_box_is_a_line() -> None:
    form = SampleForm()
    assert draw("{% field form.kind %}", form=form).count('<label class="check">') == 2
    assert "<legend>Kind" in draw("{% field form.kind %}", form=form)
    assert '<label class="check"><input type="checkbox"' in draw("{% field form.tell %}", form=form)


def test_the_summary_says_what_to_do_and_leads_there() -> None:
    form = SampleForm({"daily": "9000", "kind": "a"})
    html = draw('{% errors form "create it" %}', form=form)
    assert "<b>Fix 2 things to create it</b>" in html
    assert '<a href="#id_code">Code: Fill this in.</a>' in html
    unchosen = SampleForm({"code": "ab"})
    assert '<a href="#id_kind">Kind: Fill this in.</a>' in draw('{% errors form "x" %}', form=unchosen)
    assert 'id="id_kind"' in draw("{% field form.kind %}", form=unchosen)
    assert "Enter 4000 or less." in html
    assert "<img" not in html
    assert draw('{% errors form "x" %}', form=SampleForm()) == ""


def test_a_broken_rule_stands_beside_its_field() -> None:
    form = SampleForm({"code": "ab", "kind": "a"})
    form.add_broken_rule(RuleBroken("Choose another code.", field="code"))
    form.add_broken_rule(RuleBroken("The group is gone.", field="elsewhere"))
    assert form.errors == {"code": ["Choose another code."], "__all__": ["The group is gone."]}


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    from django.template.loader import render_to_string

    from portal.web.context import PLACES
    from portal.web.templatetags.portal import STATUS_ICONS

    sprite = render_to_string("components/_sprite.html")
    named = {place.icon for _, places in PLACES for place in places} | set(STATUS_ICONS.values())
    assert [name for name in named if f'id="i-{name}"' not in sprite] == []
