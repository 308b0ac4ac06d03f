"""Files whose names are not UTF-8, look like escapes, or control a terminal: each is shipped and verified."""

import json
import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from tests.support.running import numbered_line, running_server, wait_until
from tests.support.shipping import append, assert_conserved, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

NAMES = {
    b"\xff.log": r"\xff.log",
    rb"\xff.log": r"\\xff.log",
    b"\xfe.log": r"\xfe.log",
    "b\u00fccher\u202e\x1b[2J\n.log".encode(): "b\u00fccher\u202e\x1b[2J\n.log",
}


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """pytest's workers cannot report captured messages with such names."""
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file of each name; each has three lines of its own."""
    folder = tmp_path / os.fsdecode(b"logs-\xe9")
    folder.mkdir()
    for number, name in enumerate(NAMES):
        append(folder / os.fsdecode(name), range(3 * number, 3 * number + 3))
    return folder


def texts(folder: Path) -> set[str]:
    prefix = f"{folder.parent}/logs-\\xe9/"
    return {prefix + text for text in NAMES.values()}


@pytest.mark.parametrize("mode", ["batch", "continuous"])
def test_no_two_names_are_the_same_anywhere(
    tmp_path: Path, folder: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the wire, in records, in the server's folders, in what commands show (rule N1)."""
    with running_server(tmp_path) as server:
        ways = once(tmp_path, mode=mode, add_path=True, field=(("k", "v"),))
        with shipping([f"{folder}/*"], server.port, **ways) as run:
            wait_until(lambda: run.counters.lines_acked >= 12, "all is acked")
            run.stop()
        records = [json.loads(line) for line in server.stored_lines()]
        assert_conserved(range(12), [numbered_line(int(record["message"].split()[1])) for record in sorted_by(records)])
        assert {record["path"] for record in records} == texts(folder)
        with closing(sqlite3.connect(server.data_dir / "ledger.sqlite3")) as ledger:
            assert {path for (path,) in ledger.execute("SELECT path FROM sources")} == texts(folder)
        assert len(list(server.data_dir.glob("segments/**/*.ndjson"))) == len(NAMES)
        words = ["--log-file", f"{folder}/*", "--state-dir", str(tmp_path / "state"), "--server-host=127.0.0.1"]
        words += [f"--server-port={server.port}"]
        assert main(["verify", *words, "--json"]) == 0
        assert {verdict["path"] for verdict in json.loads(capsys.readouterr().out)} == texts(folder)
        assert main(["verify", *words]) == 0
        shown = capsys.readouterr().out
        assert shown.isprintable() or set(re.sub(r"[ -~\u00fc]", "", shown)) == {"\n"}
        assert shown.count("\n") == 1 + len(NAMES)
    main(["status", "--json", "--state-dir", str(tmp_path / "state")])
    assert {file["path"] for file in json.loads(capsys.readouterr().out)["files"]} == texts(folder)
    main(["status", "--state-dir", str(tmp_path / "state")])
    assert (
        len(
            re.findall(
                r"logs-\\xe9/(\\xff|\\\\xff|\\xfe|bücher\\u202e\\x1b\[2J\\n)\.log$", capsys.readouterr().out, re.M
            )
        )
        == 4
    )


def sorted_by(records: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(records, key=lambda record: int(record["message"].split()[1]))


def test_a_field_that_is_not_utf_8_is_escaped(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(1))
    with running_server(tmp_path) as server:
        words = ("--log-file", str(log), "--state-dir", str(tmp_path / "state"), "--server-host=127.0.0.1")
        assert main([*words, f"--server-port={server.port}", "--field", "k=\udcff", "--field", r"j=\xff"]) == 0
        (record,) = map(json.loads, server.stored_lines())
    assert (record["k"], record["j"]) == (r"\xff", r"\xff")
