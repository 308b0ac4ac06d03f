"""Values: where they come from, which source wins, and how all that is wrong is reported at once."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from logferry.config import (
    SERVE_OPTIONS,
    SHIP_OPTIONS,
    InputSettings,
    ServeSettings,
    ShipSettings,
    load,
)
from logferry.errors import ConfigError
from logferry.model.render_spec import RenderSpec


def ship(environment: Mapping[str, str] | None = None, **arguments: str) -> ShipSettings:
    return load(ShipSettings, arguments, environment or {})


def serve(environment: Mapping[str, str] | None = None, **arguments: str) -> ServeSettings:
    return load(ServeSettings, arguments, environment or {})


def problems(environment: Mapping[str, str] | None = None, **arguments: str) -> Sequence[str]:
    with pytest.raises(ConfigError) as caught:
        ship(environment, **arguments)
    return caught.value.problems


def test_the_client_with_no_settings_does_what_the_first_users_know() -> None:
    settings = ship()
    (only,) = settings.inputs
    assert only.log_file == ("/var/log/app.log",)
    assert (only.format, only.multiline, only.start_at) == ("plain", "", "beginning")
    assert (settings.server_host, settings.server_port) == ("localhost", 9000)
    assert (settings.mode, settings.compress, settings.batch_size) == ("batch", False, 1)
    assert (settings.resilient, settings.buffer_size) == (False, 50_000)
    assert (settings.metrics_interval, settings.poll_interval) == (0.0, 0.5)


def test_the_server_with_no_settings_listens_everywhere_and_keeps_its_promise() -> None:
    settings = serve()
    assert (settings.server_host, settings.server_port) == ("0.0.0.0", 9000)
    assert (settings.data_dir, settings.durability, settings.echo) == (Path("data"), "fsync", False)


def names(settings: type[Any]) -> set[str]:
    return {field.name for field in fields(settings)}


def test_inputs_ship_under_the_name_of_the_client() -> None:
    settings = ship(host="web-1")
    assert (settings.host, settings.inputs[0].host) == ("web-1", "web-1")
    assert ship().host == ship(host="AUTO").host == ship().inputs[0].host == socket.gethostname()


@pytest.mark.parametrize("text", ["", " ", " web", "web ", "we\nb", "we\x1bb", "a\u202eb", "\ufeff", "x" * 256])
def test_a_host_has_a_name_that_can_be_shown(text: str) -> None:
    (problem,) = problems(host=text)
    assert problem.endswith("must be 'auto' or a name of at most 255 printable characters, without spaces around it")


@pytest.mark.parametrize("text", ["web-1", "web 1", "b\u00fccher.example", "x" * 255])
def test_a_host_may_have_any_printable_name(text: str) -> None:
    assert ship(host=text).host == text


def test_an_argument_wins_over_the_environment_and_that_over_the_default() -> None:
    assert ship().server_port == 9000
    assert ship({"SERVER_PORT": "9001"}).server_port == 9001
    assert ship({"SERVER_PORT": "9001"}, server_port="9002").server_port == 9002
    assert ship({"COMPRESS": "true"}, compress="false").compress is False


def test_an_empty_variable_counts_as_not_set() -> None:
    assert ship(dict.fromkeys((option.env for option in SHIP_OPTIONS), "")) == ship()
    assert serve(dict.fromkeys((option.env for option in SERVE_OPTIONS), "")) == serve()


def test_an_empty_argument_is_a_mistake() -> None:
    assert problems(state_dir="", server_port="") == (
        "--server-port: '' (from the command line) must be a whole number from 1 to 65535",
        "--state-dir: '' (from the command line) must be 'auto' or a path",
    )


def test_a_bad_value_does_not_matter_where_a_better_one_wins() -> None:
    assert ship({"SERVER_PORT": "rubbish"}, server_port="9002").server_port == 9002


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "TRUE", "Yes", "oN"])
def test_every_spelling_of_true(text: str) -> None:
    assert ship(compress=text).compress is True
    assert ship({"RESILIENT": text}).resilient is True
    assert serve({"LOGFERRY_ECHO": text}).echo is True


@pytest.mark.parametrize("text", ["0", "false", "no", "off", "FALSE", "No", "oFF"])
def test_every_spelling_of_false(text: str) -> None:
    assert ship(compress=text).compress is False
    assert ship({"RESILIENT": text}).resilient is False


@pytest.mark.parametrize("text", ["2", "y", "t", "enabled", " ", "true "])
def test_other_words_are_not_booleans(text: str) -> None:
    assert problems({"COMPRESS": text}) == (
        f"--compress: {text!r} (from the environment variable COMPRESS) "
        "must be one of 1, true, yes, on or 0, false, no, off",
    )


def test_all_problems_are_reported_together_with_option_source_and_allowed_values() -> None:
    assert problems({"SHIPPING_MODE": "stream", "POLL_INTERVAL": "0"}, server_port="70000", batch_size="0") == (
        "--server-port: '70000' (from the command line) must be a whole number from 1 to 65535",
        "--mode: 'stream' (from the environment variable SHIPPING_MODE) must be one of batch, continuous",
        "--batch-size: '0' (from the command line) must be 'auto' or a whole number from 1 to 1000000",
        "--poll-interval: '0' (from the environment variable POLL_INTERVAL) "
        "must be a duration from 10ms to 1h (500ms, 10s, 1.5m, 2h, 7d; a bare number is seconds)",
    )


def test_a_problem_is_one_line_whatever_the_value_holds() -> None:
    (problem,) = problems(server_port="90\n00")
    assert "\n" not in problem


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "1e3", " 1", "1 ", "0x10", "1_000", "\u0661", "", "9" * 30])
def test_a_whole_number_is_written_in_plain_digits(text: str) -> None:
    assert len(problems(buffer_size=text)) == 1


def test_words_may_be_written_in_any_case() -> None:
    assert ship(mode="Continuous", batch_size="AUTO").mode == "continuous"
    assert ship(batch_size="AUTO").batch_size is None
    assert ship(max_attempts="auto").max_attempts is None


@pytest.mark.parametrize("text", [" ", "a\0b"])
def test_a_path_is_not_blank_and_has_no_nul(text: str) -> None:
    assert len(problems(log_file=text)) == 1


def test_a_client_cannot_connect_to_port_zero_but_a_server_can_choose_one() -> None:
    assert len(problems(server_port="0")) == 1
    assert serve(server_port="0").server_port == 0


def test_the_largest_line_of_a_client_fits_a_servers_limits() -> None:
    """A line of NULs with one byte that is not UTF-8 grows by escapes (6) and base64 (4/3)."""
    assert ship().inputs[0].max_line_bytes * (6 + 4 / 3) < serve().max_record_bytes <= serve().max_inflated_bytes


def only_input(environment: Mapping[str, str] | None = None, **arguments: str) -> InputSettings:
    (only,) = ship(environment, **arguments).inputs
    return only


class TestInputs:
    def test_unconfigured_values_are_the_defaults(self) -> None:
        only, spec = only_input(), RenderSpec()
        shared = names(InputSettings) & {field.name for field in fields(spec)} - {"exclude"}
        assert shared >= {"format", "max_line_bytes", "multiline", "multiline_max_lines", "multiline_max_bytes"}
        assert {name: getattr(only, name) for name in shared} == {name: getattr(spec, name) for name in shared}

    def test_log_files_and_what_is_left_out_are_separated_by_colons(self) -> None:
        only = only_input({"LOG_FILE": "/a.log:/var/log/**/*.log", "LOGFERRY_EXCLUDE": "*.gz:/var/log/private/*"})
        assert only.log_file == ("/a.log", "/var/log/**/*.log")
        assert only.exclude == ("*.gz", "/var/log/private/*")

    @pytest.mark.parametrize("text", ["", ":", "/a:", ":/a", "/a:: /b", " "])
    def test_a_log_file_without_a_name_is_a_mistake(self, text: str) -> None:
        (problem,) = problems(log_file=text)
        assert "must be names or patterns of files, separated by ':', or '-'" in problem

    def test_patterns_and_fields_are_separated_by_line_ends(self) -> None:
        only = only_input(
            {
                "LOGFERRY_INCLUDE": "a:b\n^c",
                "LOGFERRY_FIELD": "env=prod\nrack=a=b",
                "LOGFERRY_REDACT": "EMAIL\npass:\\S+",
            }
        )
        assert only.include == ("a:b", "^c")
        assert only.field == (("env", "prod"), ("rack", "a=b"))
        assert only.redact == ("email", r"pass:\S+")

    @pytest.mark.parametrize("name", ["exclude", "field", "include", "exclude_line", "redact", "multiline"])
    def test_none_on_the_command_line_overrides_the_environment(self, name: str) -> None:
        assert only_input({f"LOGFERRY_{name.upper()}": "a=b"}, **{name: "none"}) == only_input()

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("JSON", "json"),
            ("auto", "auto"),
            (r"regex:(?P<level>\w+) (?P<message>.*)", r"regex:(?P<level>\w+) (?P<message>.*)"),
            (r"cri+regex:(?P<LEVEL>\w+)", r"cri+regex:(?P<LEVEL>\w+)"),
        ],
    )
    def test_a_format_is_a_name_or_a_pattern(self, text: str, value: str) -> None:
        assert only_input(format=text).format == value

    @pytest.mark.parametrize(
        ("changes", "end"),
        [
            ({"format": "xml"}, "or regex: and a pattern with named groups"),
            ({"format": "regex:"}, "or regex: and a pattern with named groups: it is empty"),
            ({"format": "docker+regex:(.*)"}, ": the pattern has no named group, like (?P<message>.*)"),
            ({"format": "regex:("}, ": missing ), unterminated subpattern at position 0"),
            ({"format": "regex:(.*)"}, ": the pattern has no named group, like (?P<message>.*)"),
            ({"multiline": "["}, ": unterminated character set at position 0"),
            ({"include": "ok\n*"}, "one a line: '*': nothing to repeat at position 0"),
            ({"exclude_line": "a\n"}, "one a line: '': it is empty"),
            ({"include": "(" * 200 + "x{99999999999999}" + ")" * 200}, ": the repetition number is too large"),
            ({"field": "env"}, "must be 'none' or key=value, one a line"),
            ({"field": "=x"}, "must be 'none' or key=value, one a line"),
            ({"field": "level=x"}, "one a line: level is written by the format itself"),
            ({"multiline_max_bytes": "1023"}, "must be a size from 1K to 128K (64K, 1M, 2G; a bare number is bytes)"),
            ({"max_open_files": "0"}, "must be 'auto' or a whole number from 1 to 1000000"),
        ],
    )
    def test_an_invalid_value_is_reported_in_one_sentence_with_the_reason(
        self, changes: dict[str, Any], end: str
    ) -> None:
        (problem,) = problems(**changes)
        (name,) = changes
        assert problem.startswith(f"--{name.replace('_', '-')}: ")
        assert " (from the command line) must be " in problem
        assert problem.endswith(end)

    def test_a_pattern_nested_too_deeply_is_a_bad_value(self) -> None:
        assert len(problems(include="(" * 20_000 + ")" * 20_000)) == 1

    def test_a_pattern_with_a_future_warning_is_accepted_silently(self, recwarn: pytest.WarningsRecorder) -> None:
        assert only_input(include="[[a]x").include == ("[[a]x",)
        assert not recwarn.list


class TestConflicts:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"log_file": "/a:-"}, "standard input (-) must be the only log file of its input"),
            (
                {"log_file": "-", "delete_after": "true"},
                "--delete-after needs files: standard input (-) can be neither deleted nor moved",
            ),
            (
                {"log_file": "-", "move_after": "/x"},
                "--move-after needs files: standard input (-) can be neither deleted nor moved",
            ),
            (
                {"field": "host=a", "add_host": "true"},
                "the field 'host' is given twice (--field, --add-host, --add-path, --add-kubernetes)",
            ),
            (
                {"field": "pod=a", "add_kubernetes": "true"},
                "the field 'pod' is given twice (--field, --add-host, --add-path, --add-kubernetes)",
            ),
            ({"field": "a=1\na=2"}, "the field 'a' is given twice (--field, --add-host, --add-path, --add-kubernetes)"),
            (
                {"mode": "continuous", "delete_after": "true"},
                "--delete-after is for batch mode: a followed file is never finished",
            ),
            (
                {"ack": "line", "move_after": "/x"},
                "--move-after needs --ack auto: delivery cannot be verified otherwise",
            ),
            ({"delete_after": "true", "move_after": "/x"}, "--delete-after and --move-after cannot be used together"),
            ({"tls_ca": "/x"}, "--tls-ca needs --tls: without it, the connection is not encrypted"),
            ({"tls_insecure": "yes"}, "--tls-insecure needs --tls: without it, the connection is not encrypted"),
            ({"tls": "yes", "tls_key": "/x"}, "--tls-key needs --tls-cert"),
        ],
    )
    def test_each_conflict_is_reported_in_a_sentence(self, changes: dict[str, Any], sentence: str) -> None:
        assert problems(**changes) == (sentence,)

    def test_standard_input_alone_is_fine(self) -> None:
        assert only_input(log_file="-").log_file == ("-",)
