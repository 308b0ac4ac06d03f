"""Variables: ten stand as they are, all others have a prefix; what is misspelled is an error, a former name a line."""

from collections.abc import Mapping

import pytest

from logferry.config import (
    FSCK_OPTIONS,
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    STATUS_OPTIONS,
    VERIFY_OPTIONS,
    ServeSettings,
    ShipSettings,
    former_names,
    load,
)
from logferry.errors import ConfigError

UNPREFIXED = {
    *("LOG_FILE", "SERVER_HOST", "SERVER_PORT", "SHIPPING_MODE", "COMPRESS", "BATCH_SIZE", "RESILIENT"),
    *("BUFFER_SIZE", "METRICS_INTERVAL", "POLL_INTERVAL"),
}
EVERY_TABLE = {
    "ship": SHIP_OPTIONS,
    "verify": VERIFY_OPTIONS,
    "status": STATUS_OPTIONS,
    "serve": SERVE_OPTIONS,
    "fsck": FSCK_OPTIONS,
}


def problems(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is wrong for both ends: what one end does not know may be the other's."""
    found = []
    for settings in (ShipSettings, ServeSettings):
        try:
            load(settings, {}, environment)
        except ConfigError as error:
            found.append(error.problems)
        else:
            found.append(())
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("command", EVERY_TABLE)
def test_a_variable_is_one_of_the_first_ten_or_has_the_prefix(command: str) -> None:
    for option in EVERY_TABLE[command]:
        assert option.env in UNPREFIXED or option.env == f"LOGFERRY_{option.name.upper()}"


def test_the_server_reads_three_of_the_first_ten() -> None:
    assert {option.env for option in SERVE_OPTIONS} & UNPREFIXED == {"SERVER_HOST", "SERVER_PORT", "METRICS_INTERVAL"}


def test_variables_of_other_programs_change_nothing() -> None:
    """Build shells have INCLUDE=/usr/include; HOST and CONFIG are everywhere."""
    others = {"INCLUDE": "/usr/include", "CONFIG": "/etc/x", "HOST": "box", "DATA_DIR": "/srv", "FORMAT": "elf"}
    assert load(ShipSettings, {}, others) == load(ShipSettings, {}, {})
    assert load(ServeSettings, {}, others) == load(ServeSettings, {}, {})


def test_each_end_ignores_the_variables_of_the_other() -> None:
    assert problems({"LOGFERRY_DURABILITY": "os", "LOGFERRY_INCLUDE": "x", "LOGFERRY_SPEEDUPS": "0"}) == ()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("LOGFERRY_INCLUDES", "did you mean LOGFERRY_INCLUDE?"),
        ("LOGFERRY_DURABILTY", "did you mean LOGFERRY_DURABILITY?"),
        ("LOGFERRY_SERVER_PORT", "did you mean SERVER_PORT?"),
        ("LOGFERRY_SPEEDUP", "did you mean LOGFERRY_SPEEDUPS?"),
        ("LOGFERRY_X", "docs/configuration.md lists all variables"),
        ("LOGFERRY_PORTS", "docs/configuration.md lists all variables"),
        ("LOGFERRY_QQQQQQQQQQQQ", "docs/configuration.md lists all variables"),
    ],
)
def test_a_variable_that_neither_end_knows_is_an_error_with_a_suggestion(name: str, suggestion: str) -> None:
    assert problems({name: "x"}) == (f"{name}: unknown environment variable; {suggestion}",)


def test_an_empty_variable_that_nobody_knows_counts_as_not_set() -> None:
    assert problems({"LOGFERRY_INCLUDES": ""}) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOGFERRY_SERVICE_HOST", "10.0.0.11"),
        ("LOGFERRY_SERVICE_PORT", "9000"),
        ("LOGFERRY_SERVICE_PORT_INGEST", "9000"),
        ("LOGFERRY_PORT", "tcp://10.0.0.11:9000"),
        ("LOGFERRY_PORT", "udp://10.0.0.11:9000"),
        ("LOGFERRY_PORT_9000_TCP", "tcp://10.0.0.11:9000"),
        ("LOGFERRY_PORT_9000_TCP_PROTO", "tcp"),
        ("LOGFERRY_PORT_9000_TCP_PORT", "9000"),
        ("LOGFERRY_PORT_9000_TCP_ADDR", "10.0.0.11"),
        ("LOGFERRY_SERVER_SERVICE_HOST", "10.0.0.11"),
        ("LOGFERRY_SERVER_PORT", "tcp://10.0.0.11:9000"),
        ("LOGFERRY_SERVER_PORT_9000_TCP", "tcp://10.0.0.11:9000"),
    ],
)
def test_variables_that_kubernetes_sets_for_a_service_of_that_name_are_accepted(name: str, value: str) -> None:
    assert problems({name: value}) == ()


@pytest.mark.parametrize("name", ["LOGFERRY_PORT", "LOGFERRY_PORT_TCP", "LOGFERRY_SERVICE"])
def test_a_variable_that_only_looks_like_one_of_a_service_is_an_error(name: str) -> None:
    assert len(problems({name: "9000"})) == 1


class TestFormerNames:
    def test_each_command_names_what_it_would_have_read(self) -> None:
        environment = {"INCLUDE": "/usr/include", "STATE_DIR": "/s", "DATA_DIR": "/d", "STATUS_ALL": "1", "JSON": "1"}
        found = {command: tuple(former_names(table, environment)) for command, table in EVERY_TABLE.items()}
        state_dir = "STATE_DIR is set but no longer read; use LOGFERRY_STATE_DIR"
        data_dir = "DATA_DIR is set but no longer read; use LOGFERRY_DATA_DIR"
        json = "JSON is set but no longer read; use LOGFERRY_JSON"
        assert found == {
            "ship": ("INCLUDE is set but no longer read; use LOGFERRY_INCLUDE", state_dir),
            "verify": (json, state_dir),
            "status": (json, "STATUS_ALL is set but no longer read; use LOGFERRY_ALL", state_dir),
            "serve": (data_dir,),
            "fsck": (data_dir, json),
        }

    def test_a_former_name_that_is_empty_is_not_set(self) -> None:
        assert list(former_names(SHIP_OPTIONS, {"INCLUDE": "", "LOGFERRY_INCLUDE": "x"})) == []

    @pytest.mark.parametrize("name", sorted(UNPREFIXED))
    def test_the_first_ten_are_read_still(self, name: str) -> None:
        assert list(former_names((*SHIP_OPTIONS, *SERVE_OPTIONS), {name: "1"})) == []
