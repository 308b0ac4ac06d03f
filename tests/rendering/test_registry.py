"""The registry of formats: the list of names, and the format of each."""

import pytest

from logferry.model.format_names import FORMAT_NAMES
from logferry.model.render_spec import COMMON_KEYS, REDACTION_NAMES
from logferry.rendering.engine.field_roles import NAMES
from logferry.rendering.redaction import BUILT_IN
from logferry.rendering.registry import format_named


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_name_finds_the_format_of_that_name(name: str) -> None:
    assert format_named(name).name == name
    assert format_named(name) is format_named(name)


def test_every_redaction_name_has_a_pattern() -> None:
    assert tuple(BUILT_IN) == REDACTION_NAMES


def test_an_unknown_format_is_refused_with_the_list_of_formats() -> None:
    with pytest.raises(ValueError, match="unknown format 'xml'; the formats are plain, raw, json,") as raised:
        format_named("xml")
    assert str(raised.value).endswith(", cri+<format>, docker+<format> and regex:<pattern>")


def test_the_roles_of_keys_are_the_common_keys() -> None:
    assert tuple(NAMES) == COMMON_KEYS
    assert all(names[0] == role for role, names in NAMES.items())
