"""`logferry check-config`: what would be shipped, or all that is wrong; and nothing is shipped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.cli import dispatch as cli
from logferry.config import SHIP_OPTIONS
from tests.support.shipping import Printed, append

Check = Callable[..., Printed]


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Run `logferry check-config` in a folder of its own, with no settings in its environment."""
    for option in SHIP_OPTIONS:
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Printed:
        return Printed(cli.main(["check-config", *words]), *capfd.readouterr())

    return run


def test_it_says_what_would_be_shipped_to_where(check: Check, tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "b.log.gz", "c.txt"):
        append(tmp_path / name, range(3))
    (tmp_path / "logferry.toml").write_text("""\
server_host = "logs"
mode = "continuous"
resilient = true
compress = true
state_dir = "state"

[[input]]
log_file = "*.log"
format = "auto"
field = { env = "test" }

[[input]]
log_file = ["c.txt", "*.gz"]
exclude = "b*"
multiline = "timestamp"

[[input]]
log_file = "later/*"

[[input]]
log_file = "a.log"
""")
    assert check("--config", "logferry.toml") == Printed(
        0,
        """\
OK: logferry.toml
server   logs port 9000
mode     continuous, resilient, gzip
state    state
input 1  *.log: 2 files now; format auto; fields env=test
input 2  c.txt, *.gz: 1 file now; format plain; multiline timestamp; without b*
input 3  later/*: no file matches now; format plain
input 4  a.log: 1 file now; format plain; 1 of them left to an earlier input, like a.log
""",
        "",
    )
    assert not (tmp_path / "state").exists()


def test_it_takes_the_options_of_ship_without_a_file_too(check: Check, tmp_path: Path) -> None:
    printed = check("--log-file", str(tmp_path / "app.log"), "--server-port", "9001", "--move-after", "done")
    assert printed.code == 0
    assert printed.out.splitlines()[:3] == [
        "OK: the configuration is right",
        "server   localhost port 9001",
        "mode     batch, then moved to done",
    ]


def test_standard_input_is_named(check: Check) -> None:
    printed = check("--log-file", "-", "--format", "json")
    assert printed.out.splitlines()[-1] == "input 1  -: standard input; format json"


def test_all_that_is_wrong_is_told_with_exit_code_2(check: Check, tmp_path: Path) -> None:
    (tmp_path / "logferry.toml").write_text("server_port = 0\n[[input]]\nlog_file = 'a'\nformat = 'xml'\n")
    printed = check("--config", "logferry.toml", "--compress=perhaps", "--nonsense")
    assert (printed.code, printed.out) == (2, "")
    problems = printed.err.splitlines()
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["logferry check-config", "unknown argument"],
        ["logferry check-config", "logferry.toml, line 1"],
        ["logferry check-config", "--compress"],
        ["logferry check-config", "logferry.toml, line 4"],
    ]


def test_a_directory_is_no_log_file(check: Check, tmp_path: Path) -> None:
    printed = check("--log-file", str(tmp_path))
    assert printed == Printed(
        2,
        "",
        f"logferry check-config: log_file: '{tmp_path}' is a directory; '{tmp_path}/*' means the files in it\n",
    )


def test_a_file_that_may_not_be_read_is_told(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = append(tmp_path / "secret.log", range(3))
    append(tmp_path / "app.log", range(3))
    monkeypatch.setattr("logferry.client.finding.preview.os.access", lambda path, _: path != str(secret))
    printed = check("--log-file", f"{tmp_path}/*.log")
    assert printed.code == 0
    assert f"2 files now; format plain; 1 of them cannot be read, like {secret}" in printed.out
