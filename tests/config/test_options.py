"""Declarations: each field of the settings has its option, of the type that the field says."""

from collections.abc import Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from logferry.config import (
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    FileSettings,
    FsckSettings,
    InputSettings,
    Option,
    ServeSettings,
    ShipSettings,
    StatusSettings,
    VerifySettings,
    options_of,
)

FIXED = [
    ("LOG_FILE", "--log-file", "/var/log/app.log"),
    ("SERVER_HOST", "--server-host", "localhost"),
    ("SERVER_PORT", "--server-port", "9000"),
    ("SHIPPING_MODE", "--mode", "batch"),
    ("COMPRESS", "--compress", "false"),
    ("BATCH_SIZE", "--batch-size", "1"),
    ("RESILIENT", "--resilient", "false"),
    ("BUFFER_SIZE", "--buffer-size", "50000"),
    ("METRICS_INTERVAL", "--metrics-interval", "0"),
    ("POLL_INTERVAL", "--poll-interval", "0.5"),
]

every_table = pytest.mark.parametrize("options", [SHIP_OPTIONS, SERVE_OPTIONS], ids=["ship", "serve"])


def names(settings: type[Any]) -> set[str]:
    return {field.name for field in fields(settings)}


def test_the_ten_first_options_have_their_fixed_names_flags_and_defaults_in_order() -> None:
    assert [(option.env, option.flag, option.default) for option in SHIP_OPTIONS[:10]] == FIXED


every_settings = pytest.mark.parametrize(
    "settings",
    [ShipSettings, InputSettings, VerifySettings, FileSettings, StatusSettings, ServeSettings, FsckSettings],
)


@every_settings
def test_every_field_declares_its_option_but_those_that_follow_from_others(settings: type[Any]) -> None:
    declared = {option.name for option in options_of(settings)}
    derived = {InputSettings: {"host"}, ShipSettings: {"inputs"}, VerifySettings: {"inputs"}}
    assert names(settings) - declared == derived.get(settings, set())


@every_settings
def test_the_type_of_a_field_is_what_its_option_gives(settings: type[Any]) -> None:
    """Type checkers see the type; nothing else makes it agree with the kind."""
    hints = get_type_hints(settings)
    for option in options_of(settings):
        if option.name in hints:
            assert fits(option.kind.parse(option.default), hints[option.name]), option.name


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type as the settings have them."""
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        return any(fits(value, argument) for argument in arguments)
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(fits(part, arguments[0]) for part in value if len(arguments) == 2)
    return isinstance(value, hint) and (hint is bool) == isinstance(value, bool)


@every_table
def test_no_two_options_share_a_name_or_a_variable(options: Sequence[Option]) -> None:
    assert len({option.name for option in options}) == len({option.env for option in options}) == len(options)


@every_table
def test_every_option_has_a_help_a_valid_default_and_says_what_it_takes(options: Sequence[Option]) -> None:
    for option in options:
        option.kind.parse(option.default)
        assert option.help
        assert option.kind.allowed
        assert option.env == option.env.upper()
        assert option.flag == option.flag.lower()
