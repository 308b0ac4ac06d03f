"""`logferry check-config`: what would be shipped, or all that is wrong; and nothing is shipped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS
from tests.support.certificates import DAY, NOW, authority_file, files_of, issued
from tests.support.shipping import Printed, append

Check = Callable[..., Printed]


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Run `logferry check-config` in a folder of its own, with no settings in its environment."""
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Printed:
        return Printed(main(["check-config", *words]), *capfd.readouterr())

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
input 2  c.txt, *.gz: 1 file now; format plain; multiline timestamp; excluding b*
input 3  later/*: no file matches now; format plain
input 4  a.log: 1 file now; format plain; 1 of the files left to an earlier input, such as a.log
""",
        "",
    )
    assert not (tmp_path / "state").exists()


def test_it_takes_the_options_of_ship_without_a_file_too(check: Check, tmp_path: Path) -> None:
    printed = check("--log-file", str(tmp_path / "app.log"), "--server-port", "9001", "--move-after", "done")
    assert printed.code == 0
    assert printed.out.splitlines()[:3] == [
        "OK: the configuration is valid",
        "server   localhost port 9001",
        "mode     batch, then moved to done",
    ]


def test_standard_input_is_named(check: Check) -> None:
    printed = check("--log-file", "-", "--format", "json")
    assert printed.out.splitlines()[-1] == "input 1  -: standard input; format json"


def test_all_problems_are_reported_with_exit_code_2(check: Check, tmp_path: Path) -> None:
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


def test_a_directory_is_not_a_log_file(check: Check, tmp_path: Path) -> None:
    printed = check("--log-file", str(tmp_path))
    assert printed == Printed(
        2,
        "",
        f"logferry check-config: log_file: '{tmp_path}' is a directory; '{tmp_path}/*' means the files in it\n",
    )


def test_an_unreadable_file_is_reported(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = append(tmp_path / "secret.log", range(3))
    append(tmp_path / "app.log", range(3))
    monkeypatch.setattr("logferry.client.finding.preview.os.access", lambda path, _: path != str(secret))
    printed = check("--log-file", f"{tmp_path}/*.log")
    assert printed.code == 0
    assert f"2 files now; format plain; 1 of the files cannot be read, such as {secret}" in printed.out


class TestOfAServer:
    def test_it_says_where_the_server_would_listen_and_store(self, check: Check, tmp_path: Path) -> None:
        (tmp_path / "server.toml").write_text('server_port = 9001\ndata_dir = "logs"\nretention_days = 7\n')
        assert check("--serve", "--config", "server.toml", "--durability=os") == Printed(
            0,
            """\
OK: server.toml
listen      0.0.0.0 port 9001
login       none: everybody who can reach this address can store lines under any host name
data        logs (does not exist yet; the server creates it)
durability  os
accept      level-and-message
retention   for 7 days
clients     at most 10000, each dropped after 600 s of silence
memory      at most 67108864 bytes that are not stored yet
sizes       lines up to 8388608 bytes, frames up to 16777215, inflated up to 33554432; segments of 268435456
""",
            "",
        )
        assert not (tmp_path / "logs").exists()

    def test_a_data_folder_that_exists_is_named_as_such(self, check: Check, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        printed = check("--serve", "--server-port", "0", "--retention-bytes", "2G")
        assert printed.out.splitlines()[1:4] == [
            "listen      0.0.0.0 port chosen at start",
            "login       none: everybody who can reach this address can store lines under any host name",
            "data        data (exists)",
        ]
        assert "retention   at most 2147483648 bytes\n" in printed.out

    def test_listeners_with_tls_are_named_and_their_files_checked(self, check: Check, tmp_path: Path) -> None:
        files, authorities = files_of(issued("logs"), tmp_path), authority_file(tmp_path)
        tls = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key), "--tls-client-ca", str(authorities))
        urls = ("--listen", "tls://[::]:9443", "--listen", "tcp://127.0.0.1:9000")
        assert check("--serve", *urls, *tls).out.splitlines()[1:5] == [
            "listen      :: port 9443 (TLS)",
            "listen      127.0.0.1 port 9000",
            f"login       with TLS, a certificate of an authority in {authorities}",
            "login       none without TLS: everybody who can reach this address can store lines under any host name",
        ]
        old = files_of(issued("logs", not_before=NOW - 9 * DAY, not_after=NOW - DAY), tmp_path / "old")
        printed = check("--serve", "--tls-cert", str(old.certificate), "--tls-key", str(old.key))
        assert printed.code == 2
        assert "expired at" in printed.err
        printed = check("--serve", "--tls-cert", str(tmp_path / "missing.pem"), "--tls-key", str(old.key))
        assert printed.code == 2
        assert "--tls-cert" in printed.err
        printed = check("--serve", "--listen", "tls://[::]:9443")
        assert printed == Printed(2, "", "logferry check-config: --listen tls://... needs --tls-cert and --tls-key\n")

    def test_all_problems_are_reported_with_exit_code_2(self, check: Check, tmp_path: Path) -> None:
        (tmp_path / "server.toml").write_text("durability = 'maybe'\nlog_file = 'a'\n")
        printed = check("--serve", "--config", "server.toml", "--idle-timeout=soon", "--nonsense")
        assert (printed.code, printed.out) == (2, "")
        assert [problem.split(": ")[:2] for problem in printed.err.splitlines()] == [
            ["logferry check-config", "unknown argument"],
            ["logferry check-config", "server.toml, line 2"],
            ["logferry check-config", "server.toml, line 1"],
            ["logferry check-config", "--idle-timeout"],
        ]

    def test_a_data_folder_that_is_a_file_is_refused(self, check: Check, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("")
        for folder in ("data", "data/below"):
            printed = check("--serve", "--data-dir", folder)
            assert (printed.code, printed.out) == (2, "")
            assert printed.err.startswith("logferry check-config: --data-dir: '")
            assert printed.err.endswith("data' is not a directory\n")

    def test_a_data_folder_that_may_not_be_written_is_refused(
        self, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("logferry.cli.server.check_report.os.access", lambda path, _: path != tmp_path)
        assert check("--serve", "--data-dir", f"{tmp_path}/a/b") == Printed(
            2,
            "",
            f"logferry check-config: --data-dir: this user may not write into '{tmp_path}'; "
            "choose another folder or change its owner\n",
        )


def test_it_says_how_the_connection_is_secured(check: Check, tmp_path: Path) -> None:
    own, trusted = files_of(issued("web-1"), tmp_path), authority_file(tmp_path)
    words = ("--tls", "--tls-ca", trusted.name, "--tls-cert", own.certificate.name, "--tls-key", own.key.name)
    found = check(*words, "--tls-server-name", "log.example")
    assert found.code == 0
    line = next(line for line in found.out.splitlines() if line.startswith("server"))
    assert line == (
        "server   localhost port 9000 by TLS, trusting test-authority.pem, expecting log.example, with the certificate "
        "server.pem"
    )
    assert "the server is NOT verified" in check("--tls", "--tls-insecure").out


def test_what_is_wrong_with_files_of_tls_is_said(check: Check, tmp_path: Path) -> None:
    own = files_of(issued("web-1", not_before=NOW - 9 * DAY, not_after=NOW - DAY), tmp_path)
    found = check("--tls", "--tls-cert", own.certificate.name, "--tls-key", own.key.name)
    assert found.code == 2
    assert "--tls-cert 'server.pem': the certificate of 'O=" in found.err
    assert " expired at " in found.err
    found = check("--tls", "--tls-ca", "missing.pem")
    assert found.code == 2
    assert "--tls-ca 'missing.pem': cannot be read: No such file or directory" in found.err
