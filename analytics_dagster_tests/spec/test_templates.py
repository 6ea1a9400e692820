"""`${NAME}` templates are found and filled in wherever texts stand."""

from __future__ import annotations

import pytest

from analytics_dagster.spec import templates


def test_names_come_once_and_in_order() -> None:
    value = {"a": ["${B} ${A}", 5], "${C}": {"x": "${A}", "y": None}}
    assert templates.names(value) == ["B", "A", "C"]


def test_templates_inside_longer_texts_are_filled_in() -> None:
    value = {"a": "Token ${KEY}!", "b": ["${KEY}${my.key_2}", 7, True], "${KEY}": "{KEY} $KEY"}
    assert templates.substitute(value, str.lower) == {
        "a": "Token key!",
        "b": ["keymy.key_2", 7, True],
        "key": "{KEY} $KEY",
    }


def test_a_value_that_looks_like_a_template_is_not_filled_in_again() -> None:
    assert templates.substitute("${A}", lambda _: "${B}") == "${B}"


def test_what_the_lookup_raises_passes() -> None:
    values: dict[str, str] = {}
    with pytest.raises(KeyError):
        templates.substitute(["${A}"], values.__getitem__)


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1A}", "${A B}", "x ${A} ${"])
def test_malformed(text: str) -> None:
    assert templates.is_malformed(text)


@pytest.mark.parametrize("text", ["", "$", "{A}", "$A", "${A}", "${a_1.b}", "{incremental.start_value}"])
def test_well_formed(text: str) -> None:
    assert not templates.is_malformed(text)
