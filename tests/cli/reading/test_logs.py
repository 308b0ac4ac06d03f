"""`logferry logs` as people and pipes see it."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.cli.reading.line_forms import TextForm, as_json, raw_for_terminal
from logferry.reading.query.found import FoundLine
from logferry.reading.stored import Log, Place, Received
from tests.support.looking import clock, line, store_lines, three_hosts
from tests.support.running import DEADLINE_S
from tests.support.stores import opened

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "\x1b[31mred\u202e\n\x7f\x00\x9b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A store that a server uses meanwhile."""
    with three_hosts(tmp_path, lines=150):
        yield tmp_path


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


def shown(capfd: pytest.CaptureFixture[str], store: Path, *words: str) -> list[str]:
    """Return the lines that the command prints."""
    assert main(["logs", "--data-dir", str(store), *words]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    return printed.out.splitlines()


def refused(capfd: pytest.CaptureFixture[str], *words: str, code: int = 1) -> str:
    """Return the sentence with which the command fails."""
    assert main(["logs", *words]) == code
    return capfd.readouterr().err


def test_the_last_lines_oldest_first(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    lines = shown(capfd, store)
    assert len(lines) == 100
    assert lines[0] == "2024-01-15 00:00:50.000+00:00 INFO    c -  m50"
    assert lines[-1].endswith("m149")
    assert len(shown(capfd, store, "-n", "all")) == 150
    assert len(shown(capfd, store, "--since", "2024-01-15T00:00Z", "--until", "2024-01-15T00:02:00Z")) == 120
    assert [each.rpartition(" ")[2] for each in shown(capfd, store, "a", "-n3", "--reverse")] == [
        "m147",
        "m144",
        "m141",
    ]


def test_levels_texts_patterns_and_context(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    assert len(shown(capfd, store, "--level", "error")) == 22
    assert [each[-3:] for each in shown(capfd, store, "--text", "m14", "--grep", "[02]$", "-v", "-n", "2")] == [
        "148",
        "149",
    ]
    lines = shown(capfd, store, "--text", "m100", "-C", "1")
    assert [each.rpartition(" ")[2] for each in lines] == ["m97", "m100", "m103"]
    lines = shown(capfd, store, "--host", "a", "--level", "error", "-B", "1", "-n", "2")
    assert [each.rpartition(" ")[2] for each in lines] == ["m123", "m126", "--", "m144", "m147"]


def test_json_and_raw(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    (found,) = map(json.loads, shown(capfd, store, "-n", "1", "--output", "json"))
    place = found.pop("place")
    assert place.startswith("c/")
    now = datetime.now(UTC)
    assert found.pop("received_after") <= found.pop("received") <= now.isoformat()
    assert found == {
        "time": "2024-01-15T00:02:29.000Z",
        "event_time": True,
        "host": "c",
        "file": "",
        "level": "INFO",
        "message": "m149",
        "fields": {"timestamp": "2024-01-15T00:02:29Z"},
        "context": False,
    }
    assert shown(capfd, store, "-n", "1", "--output", "raw") == [line("m149", clock(149)).decode().rstrip()]


def test_what_matches_nothing_says_what_there_is(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    data_dir = ("--data-dir", str(store))
    assert refused(capfd, *data_dir, "web-9") == "logferry logs: no host 'web-9'; there are a, b, c\n"
    assert "no file 'app.log'" in refused(capfd, *data_dir, "--file", "app.log")
    assert "there is no folder" in refused(capfd, "--data-dir", str(store / "none"))
    assert shown(capfd, store, "--text", "absent") == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--since", "soon"), "--since: 'soon' must be a time such as 1h"),
        (("--since", "1h", "--until", "2h"), "--until must be later than --since"),
        (("--grep", "("), "--grep: the pattern cannot be used"),
        (("-n", "-5"), "must be a whole number"),
        (("-f", "--until", "1h"), "--follow cannot be used with --until"),
        (("--output", "xml"), "invalid choice"),
        (("--absent",), "unknown argument: --absent"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused(capfd, *words, code=2)


def test_the_data_folder_comes_from_the_environment_or_the_file(
    capfd: pytest.CaptureFixture[str], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGFERRY_DATA_DIR", str(store))
    assert main(["logs", "-n", "1"]) == 0
    monkeypatch.delenv("LOGFERRY_DATA_DIR")
    (store / "server.toml").write_text(f'data_dir = "{store}"\n')
    monkeypatch.setenv("LOGFERRY_CONFIG", str(store / "server.toml"))
    assert main(["logs", "-n", "1"]) == 0
    assert capfd.readouterr().out.count("m149") == 2
    monkeypatch.setenv("LOGFERRY_DATA_DRI", "x")
    assert "did you mean LOGFERRY_DATA_DIR" in refused(capfd, code=2)


def test_a_segment_that_cannot_be_read_is_in_the_exit_code(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    next(store.glob("segments/a/**/*.ndjson")).unlink()
    assert main(["logs", "--data-dir", str(store)]) == 3
    assert len(capfd.readouterr().out.splitlines()) == 100


def found_line(message: str, **fields: str) -> FoundLine:
    """Return a line with the fields of an attacker."""
    record = json.dumps({"level": f"INFO{HOSTILE}", "message": message, **fields}).encode()
    log = Log("key", f"host{HOSTILE}", f"/var/{HOSTILE}.log")
    return FoundLine(log, Place("s", 0), record, 10**18, Received(0, 10**18), has_event_time=False)


def test_nothing_in_a_line_controls_a_terminal() -> None:
    hostile = found_line(HOSTILE, **{HOSTILE: HOSTILE})
    forms = [
        TextForm(encoding="utf-8", has_colours=has_colours, is_terminal=True)(hostile) for has_colours in (False, True)
    ]
    for data in (*forms, as_json(hostile), raw_for_terminal(hostile)):
        text = data.decode()
        for code in ("\x1b[0m", "\x1b[2m", "\x1b[32m"):
            text = text.replace(code, "")
        assert text.isprintable(), text
    assert "an impossible time~" in forms[0].decode()


def test_a_long_line_is_cut_on_a_terminal_and_whole_in_a_pipe() -> None:
    long = found_line("x" * 1_000_000, field="y" * 1_000_000)
    cut = TextForm(encoding="utf-8", has_colours=False, is_terminal=True)(long)
    assert len(cut) < 10_000
    assert b"[cut: 2000" in cut
    assert cut.endswith(b"bytes; --output raw has all]")
    assert len(TextForm(encoding="utf-8", has_colours=False, is_terminal=False)(long)) > 2_000_000


def test_a_terminal_gets_colours_and_a_last_line_about_what_is_lacking(store: Path) -> None:
    output = on_terminal("--data-dir", str(store), "-n", "3", "--no-pager", NO_COLOR="")
    assert "\x1b[31mERROR  \x1b[0m b -  m148" not in output
    assert "\x1b[31mERROR  \x1b[0m b -  m147" not in output
    assert "\x1b[31mERROR  \x1b[0m a -  m147" in output
    assert "nothing is known to be lacking in what is shown" in output.splitlines()[-1]
    assert "\x1b" not in on_terminal("--data-dir", str(store), "-n", "3", "--no-pager", NO_COLOR="1")
    assert "nothing found; looked at 150 lines" in on_terminal("--data-dir", str(store), "--text", "zzz", "--no-pager")


def test_a_pager_shows_the_lines_on_a_terminal(store: Path) -> None:
    output = on_terminal("--data-dir", str(store), "-n", "3", LOGFERRY_PAGER="sed s/^/paged:/")
    assert output.count("paged:") == 4


def on_terminal(*words: str, **environment: str) -> str:
    """Return what the command shows on a terminal of 80 columns."""
    main_end, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "main.py", "logs", *words],
        cwd=ROOT,
        stdin=end,
        stdout=end,
        stderr=end,
        env={**os.environ, "TERM": "xterm", **environment},
    )
    os.close(end)
    output = b""
    try:
        while data := os.read(main_end, 65536):
            output += data
    except OSError:  # the end of a terminal
        pass
    os.close(main_end)
    assert process.wait(DEADLINE_S) == 0
    return output.decode()


def test_following_shows_new_lines_and_ends_quietly(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", line("first", clock(1)))
        process = subprocess.Popen(
            [sys.executable, "main.py", "logs", "-f", "--data-dir", str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        assert b"first" in process.stdout.readline()
        store_lines(store, "b", line("second", clock(2)))
        assert b"second" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=DEADLINE_S) == (b"", b"")
        assert process.returncode == 0


def test_a_reader_that_has_enough_ends_it_quietly(store: Path) -> None:
    command = f"{sys.executable} main.py logs --data-dir {store} -n all | head -n 1"
    done = subprocess.run(command, cwd=ROOT, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("m0\n")
    assert done.stderr == ""


def test_a_null_where_a_line_has_no_timestamp_is_not_shown(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", b'{"level": null, "message": "at x", "timestamp": null, "user": null}\n')
    assert shown(capfd, tmp_path)[0].endswith(" at x user=null")
    (found,) = map(json.loads, shown(capfd, tmp_path, "--output", "json"))
    assert found["fields"] == {"level": None, "timestamp": None, "user": None}


def test_what_cannot_be_read_is_said_also_to_a_pipe(capfd: pytest.CaptureFixture[str], store: Path) -> None:
    (file,) = (store / "segments/a").rglob("*.ndjson")
    file.unlink()
    assert main(["logs", "--data-dir", str(store), "-n", "3"]) == 3
    printed = capfd.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert "logferry logs: some segments could not be read, such as a/" in printed.err


def test_lines_that_cannot_be_written_are_no_success(store: Path) -> None:
    command = [sys.executable, "main.py", "logs", "--data-dir", str(store)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "logferry logs: cannot write the lines: No space left on device\n"


def test_names_on_the_disk_are_utf_8_whatever_the_locale_is(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "köln-日本", line("m0"))
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "main.py", *words, "--data-dir", str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    shown = run("logs")
    assert "k\\xf6ln-\\u65e5\\u672c" in shown.stdout
    assert shown.stdout.endswith("m0\n")
    checked = run("fsck")
    assert checked.returncode == 1
    assert "LC_ALL=C.UTF-8" in checked.stderr


def test_a_pattern_that_takes_for_ever_ends_at_ctrl_c(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", line("first", clock(2)), line("a" * 5000 + "b", clock(1)))
    process = subprocess.Popen(
        [sys.executable, "main.py", "logs", "--data-dir", str(tmp_path), "--grep", "first|(a|a|aa)+$"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 130
    output, errors = process.communicate()
    assert output == b""
    assert errors in (b"", b"logferry logs: interrupted\n")  # it may not have come to the pattern yet
