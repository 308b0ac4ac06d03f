"""The configuration file: what may stand in it, what wins over it, and how all its mistakes are reported at once."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, FsckSettings, ServeSettings, ShipSettings, load
from logferry.errors import ConfigError
from logferry.model.format_names import FORMAT_NAMES

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems name the file as it was given: here it is always logferry.toml."""
    monkeypatch.chdir(tmp_path)


def ship(text: str, environment: Mapping[str, str] | None = None, **arguments: str) -> ShipSettings:
    Path("logferry.toml").write_text(text, encoding="utf-8")
    return load(ShipSettings, {"config": "logferry.toml", **arguments}, environment or {})


def serve(text: str, environment: Mapping[str, str] | None = None, **arguments: str) -> ServeSettings:
    Path("logferry.toml").write_text(text, encoding="utf-8")
    return load(ServeSettings, {"config": "logferry.toml", **arguments}, environment or {})


def problems(text: str, environment: Mapping[str, str] | None = None, **arguments: str) -> Sequence[str]:
    with pytest.raises(ConfigError) as caught:
        ship(text, environment, **arguments)
    return caught.value.problems


def found(text: str) -> Sequence[str]:
    """Return what is wrong with a text, which may be nothing."""
    try:
        ship(text)
    except ConfigError as error:
        return error.problems
    return ()


TWO_INPUTS = """\
server_host = "logs"
format = "logfmt"

[[input]]
log_file = "/var/log/a.log"

[[input]]
log_file = ["/var/log/b*.log", "/srv/with:colon.log"]
format = "json"
"""


class TestWhatItSays:
    def test_the_example_is_valid_and_has_the_values_that_it_shows(self) -> None:
        settings = ship((ROOT / "logferry.example.toml").read_text(encoding="utf-8"))
        web, app, cluster = settings.inputs
        assert (settings.server_host, settings.mode, settings.batch_size) == ("logs.example.com", "continuous", None)
        assert settings.state_dir == Path("/var/lib/logferry")
        assert (web.log_file, web.format) == (("/var/log/nginx/*access.log",), "nginx")
        assert (web.field, web.redact, web.add_host) == ((("service", "web"),), ("bearer",), True)
        assert app.redact == ("email", "card", r"token=\S+")
        assert (app.multiline, app.multiline_timeout) == ("timestamp", 1.5)
        assert (cluster.start_at, cluster.max_line_bytes) == ("end", 262_144)
        assert cluster.field == (("service", "cluster"), ("stage", "production"))
        assert {own.exclude for own in settings.inputs} == {("*.gz", "*.tmp")}

    def test_an_empty_file_changes_nothing(self) -> None:
        assert ship("").inputs == load(ShipSettings, {}, {}).inputs

    def test_the_variable_names_it_too(self) -> None:
        Path("other.toml").write_text('server_host = "logs"', encoding="utf-8")
        assert load(ShipSettings, {}, {"LOGFERRY_CONFIG": "other.toml"}).server_host == "logs"

    def test_without_sections_the_top_is_the_only_input(self) -> None:
        (only,) = ship('log_file = "/var/log/a.log"\nformat = "json"').inputs
        assert (only.log_file, only.format) == (("/var/log/a.log",), "json")

    def test_the_top_has_the_defaults_of_every_section(self) -> None:
        first, second = ship(TWO_INPUTS).inputs
        assert (first.log_file, first.format) == (("/var/log/a.log",), "logfmt")
        assert (second.log_file, second.format) == (("/var/log/b*.log", "/srv/with:colon.log"), "json")

    @pytest.mark.parametrize(
        "option", [option for option in SHIP_OPTIONS if option.name != "config"], ids=attrgetter("name")
    )
    def test_every_option_may_be_written_as_on_the_command_line(self, option: Any) -> None:
        assert ship(f'{option.name} = "{option.default}"') == ship("")

    @pytest.mark.parametrize(
        ("line", "name", "value"),
        [
            ("compress = true", "compress", True),
            ("server_port = 9_001", "server_port", 9001),
            ("batch_size = 50", "batch_size", 50),
            ('batch_size = "auto"', "batch_size", None),
            ("poll_interval = 2", "poll_interval", 2.0),
            ("poll_interval = 0.25", "poll_interval", 0.25),
            ("metrics_interval = 1e3", "metrics_interval", 1000.0),
            ('poll_interval = "250ms"', "poll_interval", 0.25),
            ('max_held_bytes = "2G"', "max_held_bytes", 2 * 1024**3),
            ("max_held_bytes = 5", "max_held_bytes", 5),
            ('host = "web-1"', "host", "web-1"),
            ('mode = "Continuous"', "mode", "continuous"),
        ],
    )
    def test_numbers_and_booleans_are_written_as_such(self, line: str, name: str, value: object) -> None:
        assert getattr(ship(line), name) == value

    @pytest.mark.parametrize(
        ("line", "name", "value"),
        [
            ('log_file = "/a:/b"', "log_file", ("/a", "/b")),
            ('log_file = ["/a:/b"]', "log_file", ("/a:/b",)),
            ("exclude = []", "exclude", ()),
            ('exclude = "none"', "exclude", ()),
            (r"include = ['a\nb', '\d']", "include", (r"a\nb", r"\d")),
            ('field = ["a=1", "b=x=y"]', "field", (("a", "1"), ("b", "x=y"))),
            ('field = { a = 1, b = true, c = "" }', "field", (("a", "1"), ("b", "true"), ("c", ""))),
            ('multiline = "none"', "multiline", ""),
            (r"format = 'regex:(?P<message>\S+)'", "format", r"regex:(?P<message>\S+)"),
        ],
    )
    def test_several_values_are_an_array_and_fields_a_table(self, line: str, name: str, value: object) -> None:
        (only,) = ship(line).inputs
        assert getattr(only, name) == value

    def test_line_ends_and_marks_of_windows_do_no_harm(self) -> None:
        Path("logferry.toml").write_bytes(b'\xef\xbb\xbfserver_host = "logs"\r\nserver_port = 9001\r\n')
        settings = load(ShipSettings, {"config": "logferry.toml"}, {})
        assert (settings.server_host, settings.server_port) == ("logs", 9001)

    def test_a_client_without_a_file_does_not_load_what_reads_one(self) -> None:
        program = "import sys, logferry.cli.dispatch; sys.exit('tomllib' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], cwd=ROOT / "src", check=False).returncode == 0


class TestPrecedence:
    def test_command_line_over_environment_over_file_over_default(self) -> None:
        assert ship("").server_port == 9000
        assert ship("server_port = 9001").server_port == 9001
        assert ship("server_port = 9001", {"SERVER_PORT": "9002"}).server_port == 9002
        assert ship("server_port = 9001", {"SERVER_PORT": "9002"}, server_port="9003").server_port == 9003

    def test_an_option_of_inputs_given_outside_the_file_holds_for_every_input(self) -> None:
        assert [own.format for own in ship(TWO_INPUTS, {"LOGFERRY_FORMAT": "raw"}).inputs] == ["raw", "raw"]
        assert [own.format for own in ship(TWO_INPUTS, {"LOGFERRY_FORMAT": "raw"}, format="auto").inputs] == [
            "auto",
            "auto",
        ]
        assert [own.redact for own in ship(TWO_INPUTS, redact="email\ncard").inputs] == [("email", "card")] * 2

    @pytest.mark.parametrize("way", ["the command line", "the environment"])
    def test_a_log_file_given_outside_the_file_takes_the_place_of_all_sections(self, way: str) -> None:
        by_argument = way == "the command line"
        settings = ship(TWO_INPUTS, log_file="/c") if by_argument else ship(TWO_INPUTS, {"LOG_FILE": "/c"})
        (only,) = settings.inputs
        assert (only.log_file, only.format, settings.server_host) == (("/c",), "logfmt", "logs")

    def test_a_bad_value_in_the_file_does_not_matter_where_a_better_one_wins(self) -> None:
        assert ship("server_port = 0", server_port="9002").server_port == 9002


class TestTheServersFile:
    def test_it_has_the_keys_of_the_server(self) -> None:
        text = 'server_port = 9001\ndata_dir = "/srv/logs"\nretention_bytes = "2G"\nretention_days = 7\necho = true\n'
        settings = serve(text)
        assert (settings.server_port, settings.data_dir, settings.echo) == (9001, Path("/srv/logs"), True)
        assert (settings.retention_bytes, settings.retention_days) == (2 * 1024**3, 7)

    def test_the_same_layers_win(self) -> None:
        text = 'server_host = "a"\nserver_port = 1\ndata_dir = "/a"\n'
        settings = serve(text, {"SERVER_PORT": "2", "LOGFERRY_DATA_DIR": "/b"}, data_dir="/c")
        assert (settings.server_host, settings.server_port, settings.data_dir) == ("a", 2, Path("/c"))
        assert settings.durability == "fsync"

    def test_the_variable_names_it_and_fsck_takes_it_too(self) -> None:
        Path("server.toml").write_text('data_dir = "/srv/logs"\nmax_connections = 5\n', encoding="utf-8")
        environment = {"LOGFERRY_CONFIG": "server.toml"}
        assert load(ServeSettings, {}, environment).data_dir == Path("/srv/logs")
        assert load(FsckSettings, {}, environment).data_dir == Path("/srv/logs")

    @pytest.mark.parametrize(
        "option", [option for option in SERVE_OPTIONS if option.name != "config"], ids=attrgetter("name")
    )
    def test_every_option_may_be_written_as_on_the_command_line(self, option: Any) -> None:
        assert serve(f'{option.name} = "{option.default}"') == serve("")

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("durabilty = 'os'", "line 1: durabilty: unknown key; did you mean durability?"),
            ("durability = 'maybe'", "line 1: durability: 'maybe' must be one of fsync, os, none"),
            (
                "data_dir = 'x'\nlog_file = 'y'",
                "line 2: log_file: unknown key here; it belongs in the configuration file of the client",
            ),
            (
                "[[input]]\nlog_file = 'y'",
                "line 1: input: unknown key here; it belongs in the configuration file of the client",
            ),
            ("[network]\nport = 1", "line 1: network: unknown key; this file has no sections"),
            ("config = 'x'", "line 1: config: a configuration file cannot name another configuration file"),
        ],
    )
    def test_a_problem_is_reported_with_file_line_key_and_a_hint(self, text: str, sentence: str) -> None:
        with pytest.raises(ConfigError) as caught:
            serve(text)
        assert caught.value.problems == (f"logferry.toml, {sentence}",)

    def test_a_server_s_key_in_a_client_s_file_is_named_as_such(self) -> None:
        assert problems("data_dir = 'x'") == (
            "logferry.toml, line 1: data_dir: unknown key here; it belongs in the configuration file of the server",
        )


class TestProblems:
    def test_all_problems_are_reported_together_with_file_line_key_and_allowed_values(self) -> None:
        text = """\
server_port = 70000
mode = "stream"

[[input]]
log_file = "/var/log/a.log"
format = "xml"

[[input]]
log_file = "/var/log/b.log"
include = ["ok", "("]
"""
        assert problems(text, compress="perhaps") == (
            "logferry.toml, line 1: server_port: 70000 must be a whole number from 1 to 65535",
            "logferry.toml, line 2: mode: 'stream' must be one of batch, continuous",
            "--compress: 'perhaps' (from the command line) must be one of 1, true, yes, on or 0, false, no, off",
            "logferry.toml, line 6: [[input]] 1: format: 'xml' must be one of auto, "
            f"{', '.join(FORMAT_NAMES)}, cri+<format>, docker+<format>, or regex: and a pattern "
            "with named groups",
            "logferry.toml, line 10: [[input]] 2: include: ['ok', '('] must be 'none' or regular expressions, "
            "one a line: '(': missing ), unterminated subpattern at position 0",
        )

    def test_a_problem_at_the_top_is_reported_once_for_all_inputs(self) -> None:
        assert problems(TWO_INPUTS.replace('"logfmt"', "5").replace('format = "json"', "")) == (
            "logferry.toml, line 2: format: 5 must be one of auto, "
            f"{', '.join(FORMAT_NAMES)}, cri+<format>, docker+<format>, or regex: and a pattern "
            "with named groups",
        )

    @pytest.mark.parametrize(
        "line",
        [
            "server_port = true",
            "server_port = 9000.0",
            "server_port = -1",
            "server_port = [9000]",
            "server_port = 2024-01-15",
            "compress = 1",
            "compress = []",
            "poll_interval = nan",
            "poll_interval = true",
            "poll_interval = -1",
            "server_host = 5",
            "server_host = ''",
            "log_file = 5",
            "log_file = []",
            "log_file = ['']",
            "log_file = [1]",
            "log_file = [['a']]",
            "include = ['']",
            "include = [2024-01-15]",
            "field = ['x']",
            "field = { x = [] }",
            "field = { message = 'x' }",
            "field = { a = { b = 1 } }",
            "redact = ['(x']",
            "format = 'regex:x'",
            "format = true",
            "multiline_max_bytes = 131_073",
        ],
    )
    def test_a_value_of_another_kind_is_refused(self, line: str) -> None:
        (problem,) = problems(f"\n{line}\n")
        assert problem.startswith(f"logferry.toml, line 2: {line.split()[0]}: ")
        assert "\n" not in problem

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("log-file = 'x'", "line 1: log-file: unknown key; did you mean log_file?"),
            ("sever_port = 1", "line 1: sever_port: unknown key; did you mean server_port?"),
            ("x = 1", "line 1: x: unknown key; the keys are the long options with underscores"),
            ("[network]\nport = 1", "line 1: network: unknown key; the only sections are [[input]]"),
            ("[[inputs]]\nlog_file = 'x'", "line 1: inputs: unknown key; the only sections are [[input]]"),
            ("[input]\nlog_file = 'x'", "line 1: input: write each input as its own section, headed [[input]]"),
            ("config = 'x'", "line 1: config: a configuration file cannot name another configuration file"),
            ("[[input]]\nformat = 'json'", "line 1: [[input]] 1: log_file is missing"),
            (
                "[[input]]\nlog_file = 'x'\nserver_port = 1",
                "line 3: [[input]] 1: server_port: unknown key in an [[input]] section; it belongs above the first one",
            ),
            (
                "[[input]]\nlog_file = 'x'\nzzz = 1",
                "line 3: [[input]] 1: zzz: unknown key in an [[input]] section; the keys are log_file,",
            ),
            (
                "log_file = 'y'\n[[input]]\nlog_file = 'x'",
                "line 1: log_file: with [[input]] sections, each section needs its own log_file",
            ),
        ],
    )
    def test_an_unknown_or_misplaced_key_is_an_error_with_a_hint(self, text: str, sentence: str) -> None:
        (problem,) = problems(text)
        assert problem.startswith(f"logferry.toml, {sentence}")

    def test_standard_input_is_the_only_input(self) -> None:
        text = "[[input]]\nlog_file = '-'\n[[input]]\nlog_file = 'y'\n"
        assert problems(text) == ("standard input (-) must be the only input",)

    def test_a_conflict_is_reported_with_the_section(self) -> None:
        text = "[[input]]\nlog_file = 'x'\n\n[[input]]\nlog_file = 'y'\nfield = {host = 'a'}\nadd_host = true\n"
        assert problems(text) == (
            "logferry.toml, line 4: [[input]] 2: the field 'host' is given twice "
            "(--field, --add-host, --add-path, --add-kubernetes)",
        )

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"server_port = 1\nserver_port 2\n", "line 2: not TOML: Expected '=' after a key in a key/value pair"),
            (b"a = 1\r\n\r\nb = [1,\r\n", "line 3: not TOML: "),
            (b"server_port = 1\nserver_port = 2\n", "line 2: not TOML: Cannot overwrite a value"),
            (b"\n\nserver_host = '\xff'\n", "line 3: a configuration file must be UTF-8, and this line is not"),
            (b"a = " + b"[" * 100_000, "not TOML: "),
            (b"a = " + b"9" * 100_000, "not TOML: "),
            (b"#" * (4 * 1024 * 1024 + 1), "a configuration file may have at most 4194304 bytes"),
        ],
    )
    def test_invalid_toml_is_reported_with_its_line(self, content: bytes, sentence: str) -> None:
        Path("logferry.toml").write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load(ShipSettings, {"config": "logferry.toml"}, {})
        (problem,) = caught.value.problems
        assert re.match(rf"logferry\.toml[,:] {re.escape(sentence)}", problem)
        assert "\n" not in problem

    @pytest.mark.parametrize("name", ["missing.toml", "."])
    def test_a_file_that_cannot_be_read_is_named(self, name: str) -> None:
        with pytest.raises(ConfigError, match="cannot read the configuration file: "):
            load(ShipSettings, {"config": name}, {})

    def test_problems_outside_an_unreadable_file_are_reported_too(self) -> None:
        with pytest.raises(ConfigError) as caught:
            load(ShipSettings, {"config": "missing.toml", "server_port": "0"}, {})
        assert len(caught.value.problems) == 2


class TestLines:
    @pytest.mark.parametrize(
        "text",
        [
            'include = """\nformat = 1\n"""\nformat = 2\n',
            'input = [{ log_file = "x", format = 1 }]',
            'input = [\n  { log_file = "x", format = 1 },\n]\n',
            'include = """\n[[input]]\n"""\n[[input]]\nlog_file = "x"\nformat = 5\n',
        ],
    )
    def test_an_uncertain_line_is_not_reported(self, text: str) -> None:
        (problem,) = (problem for problem in problems(text) if "format: " in problem)
        assert problem.startswith("logferry.toml: ")

    @pytest.mark.parametrize("key", ["format", '"format"', "'format'", "  format  ", "\tformat"])
    def test_a_key_is_found_however_it_is_written(self, key: str) -> None:
        (problem,) = problems(f"# format = 1\n[[input]] # one\nlog_file = 'x'\n{key} = 1 # format = 2\n")
        assert problem.startswith("logferry.toml, line 4: ")

    def test_a_table_of_an_input_is_found(self) -> None:
        (problem,) = problems("[[input]]\nlog_file = 'x'\n[[input]]\nlog_file = 'y'\n[input.field]\nlevel = 'x'\n")
        assert problem.startswith("logferry.toml, line 5: [[input]] 2: field: ")

    @given(
        st.lists(
            st.sampled_from(
                [
                    *(
                        "[[input]]",
                        "[input.field]",
                        "[other]",
                        "# x",
                        "",
                        'log_file = "a"',
                        "format = 5",
                        "add_host = 7",
                    ),
                    *('"format" = "json"', "include = '''", "'''", "level = 1", "exclude = [", "]", "server_port = 0"),
                ]
            ),
            max_size=12,
        )
    )
    def test_a_reported_line_has_the_key(self, lines: list[str]) -> None:
        for problem in found("\n".join(lines)):
            match = re.match(r"logferry\.toml, line (\d+):(?: \[\[input\]\] \d+:)? (\w+): ", problem)
            assert match is None or match[2] in lines[int(match[1]) - 1]

    @given(st.text(alphabet="[]{}=\"'\\\n#.-:_ input1eformat\0\u00e9\ud7ff", max_size=60))
    def test_any_text_is_taken_or_refused_with_sentences(self, text: str) -> None:
        assert not any("\n" in problem for problem in found(text))
