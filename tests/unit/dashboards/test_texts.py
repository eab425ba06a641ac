"""Texts exist in both languages or not at all."""

from __future__ import annotations

import pytest

from merilo.schema import ROLES
from merilo_dashboards import company_texts
from merilo_dashboards.texts import LANGUAGES, Named, Text, Value, rendered


@pytest.mark.parametrize(
    ("en", "bg", "said"),
    [
        ("", "мощност", "both languages"),
        ("power", " ", "both languages"),
        ("power", "power", "no Cyrillic letter"),
        ("мощност", "мощност", "Cyrillic letters in the English"),
        ("$company uses", "компанията ползва", "same variables"),
        ("in ${tz}", "за ${zone}", "same variables"),
    ],
)
def test_a_text_that_lacks_a_language_is_refused(en: str, bg: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Text(en, bg)


def test_rendering_picks_one_language_at_every_depth() -> None:
    tree: Value = {
        "a": [Text("power", "мощност"), 1, None, True],
        "b": {"c": Named("title_en", "title_bg")},
        "d": "plain",
    }

    assert rendered(tree, "en") == {"a": ["power", 1, None, True], "b": {"c": "title_en"}, "d": "plain"}
    assert rendered(tree, "bg") == {"a": ["мощност", 1, None, True], "b": {"c": "title_bg"}, "d": "plain"}


def test_every_role_of_a_meter_has_words() -> None:
    assert set(company_texts.ROLES) == set(ROLES)
    for language in LANGUAGES:
        words = [text.of(language) for text in company_texts.ROLES.values()]
        assert len(set(words)) == len(words)


def test_every_description_says_what_is_good_and_what_to_do() -> None:
    about = {name: text for name, text in vars(company_texts).items() if name.endswith("_ABOUT") and name != "ABOUT"}
    assert len(about) > 10
    for name, text in about.items():
        if name != "HEADER_ABOUT":
            assert "Good:" in text.en, name
            assert "To do:" in text.en, name
            assert "Добре е:" in text.bg, name
            assert "Какво да направите:" in text.bg, name
