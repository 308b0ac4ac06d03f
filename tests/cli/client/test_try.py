"""`logferry try`: what the first lines of a file become, and why."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.client.try_report import trial_as_text
from logferry.cli.dispatch import main
from logferry.client.readers.trial import MAX_BYTES, try_lines
from logferry.model.render_spec import PLAIN
from logferry.rendering.renderer import renderer
from logferry.rendering.shapes import shape_of
from tests.support.formats import SAMPLES
from tests.support.shipping import input_settings

pytestmark = pytest.mark.usefixtures("logging_restored")

PLAIN_LINE = b"2024-01-15 08:23:45 INFO line %d\n"
JSON = b'{"level":"info","msg":"pump %d"}\n'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would be written would be found."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(JSON % number for number in range(30)) + b"Starting pump 7\nStarting pump 8\n\n")
    return path


def tried(capfd: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """Return what the command prints for programs."""
    assert main(["try", "--json", *map(str, words)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    found: dict[str, Any] = json.loads(printed.out)
    return found


def test_the_first_records_are_what_would_be_stored(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert tried(capfd, "--format", "json", log)["records"] == [
        f'{{"timestamp": null, "level":"INFO","message":"pump {number}"}}' for number in range(10)
    ]
    assert main(["try", "--format", "json", str(log)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[:10] == [f"INFO       pump {number}" for number in range(10)]
    assert "recognised                         30   93.8 %" in lines
    assert all(len(line) <= 80 for line in lines)


def test_what_became_of_the_lines_is_counted(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = tried(capfd, "--format", "auto", log)
    counts = {"lines": 33, "blank": 1, "events": 32, "recognised": 30, "stored": 32, "with_level": 30, "unknown": 2}
    assert {key: found[key] for key in counts} == counts
    assert (found["with_timestamp"], found["formats"], found["whole"]) == (0, ["json"], True)
    assert found["shapes"] == [{"count": 2, "shape": "a.. 0", "example": "Starting pump 7"}]


def test_the_choice_of_auto_is_explained_whatever_the_format_is(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    auto = tried(capfd, log)["auto"]
    assert (auto["format"], auto["fits"], auto["sample"]) == ("json", True, 20)
    assert (auto["sample_counts"], auto["counts"]) == ({"json": 20}, {"json": 30})


def test_it_is_said_where_auto_changes_its_mind(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [JSON % number for number in range(30)] + [PLAIN_LINE % number for number in range(300)]
    log.write_bytes(b"".join(lines))
    found = tried(capfd, "--format", "auto", log)
    assert found["formats"] == ["json", "plain"]
    assert (found["auto"]["later"], found["auto"]["later_from"]) == ("plain", sum(map(len, lines[:131])))


def test_it_is_said_when_no_format_fits(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(b"pump starts\n" * 30)
    assert main(["try", "--format", "auto", str(log)]) == 0
    assert "--format auto would choose plain: no format fits half of the first 20 lines" in capfd.readouterr().out
    log.write_bytes(b"\n")
    assert main(["try", "--format", "auto", str(log)]) == 0
    assert "there are no lines to decide by" in capfd.readouterr().out


def test_no_more_is_read_than_was_asked_for(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = tried(capfd, "-n", "5", log)
    assert (found["lines"], found["whole"], found["auto"]["sample"]) == (5, False, 5)
    log.write_bytes(b"x" * (MAX_BYTES + 5_000_000) + b"\n")
    found = tried(capfd, log)
    assert (found["lines"], found["whole"]) == (1, False)


def test_a_format_whose_lines_follow_a_header_has_one_name(capfd: pytest.CaptureFixture[str]) -> None:
    found = tried(capfd, "--format", "auto", SAMPLES / "iis.log")
    assert (found["formats"], found["auto"]["format"]) == (["iis"], "iis")


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.log")))
def test_every_sample_becomes_what_it_would_be_stored_as(name: str) -> None:
    data = (SAMPLES / f"{name}.log").read_bytes()
    settings = input_settings("-", format=name.partition("-")[0])
    trial = try_lines(str(SAMPLES / f"{name}.log"), settings, max_lines=1000)
    assert b"".join(record + b"\n" for record in trial.records) == (SAMPLES / f"{name}.ndjson").read_bytes()
    assert trial.lines == data.count(b"\n") + (not data.endswith(b"\n"))
    assert 0 < trial.recognised <= trial.events == len(trial.records)


def test_the_options_that_say_what_lines_become_hold(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(PLAIN_LINE % 1 + b"  more of it\n" + b"2024-01-15 08:23:46 \x1b[31mAUDIT\x1b[0m a@example.org\n")
    words = ["--multiline", "timestamp", "--levels", "AUDIT", "--redact", "email", "--field", "a=b", "--strip-ansi"]
    found = tried(capfd, *words, log)
    assert (found["joined"], found["redacted"], found["with_level"]) == (1, 1, 2)
    assert json.loads(found["records"][1]) == {
        "level": "AUDIT",
        "message": "[redacted]",
        "timestamp": "2024-01-15 08:23:46",
        "a": "b",
    }
    assert tried(capfd, "--exclude-line", "AUDIT", log)["filtered"] == 1


def test_an_archive_is_read_like_the_file_that_it_holds(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    archive = log.with_name("app.log.gz")
    archive.write_bytes(gzip.compress(log.read_bytes()))
    with_names = tried(capfd, log), tried(capfd, archive)
    assert with_names[0] | {"file": ""} == with_names[1] | {"file": ""}


def test_standard_input_and_fifos_are_read(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.write(writing, log.read_bytes())
    os.close(writing)
    by_name = tried(capfd, "--format", "auto", f"/dev/fd/{reading}")
    os.close(reading)
    stdin = os.dup(0)
    with log.open("rb") as file:
        os.dup2(file.fileno(), 0)
        try:
            assert tried(capfd, "--format", "auto", "-") | {"file": ""} == by_name | {"file": ""}
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)


def test_nothing_is_written(log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    tried(capfd, "--format", "auto", log)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 2, "FILE is missing"),
        (("a", "b"), 2, "unknown argument: b"),
        (("--log-file", "x", "a"), 2, "unknown argument"),
        (("-n", "0", "a"), 2, "--lines"),
        (("none",), 1, "none: no such file"),
        (("/",), 1, "is a directory"),
    ],
)
def test_what_cannot_be_read_is_a_sentence_and_an_exit_code(
    words: tuple[str, ...], code: int, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["try", *words]) == code
    assert sentence in capfd.readouterr().err


def test_hostile_bytes_are_escaped_on_every_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a\x1b[31m\n.log"
    log.write_bytes(b'\x1b]0;x\x07\xe2\x80\xae\xff\x9b "\x1b[2J\n{"a\x1b":"\\u001b\\u202e"}\n')
    for words in ((), ("--json",), ("--format", "json")):
        assert main(["try", *words, str(log)]) == 0
        assert capfd.readouterr().out.replace("\n", "").isprintable()
    trial = try_lines(str(log), input_settings("-"), max_lines=10)
    text = trial_as_text(str(log), trial, columns=60)
    assert text.replace("\n", "").isprintable()
    assert all(len(line) <= 80 for line in text.split("\n"))


@pytest.mark.parametrize("columns", [None, 60, 100, 1])
def test_a_record_takes_no_more_columns_than_there_are(log: Path, columns: int | None) -> None:
    log.write_bytes(PLAIN_LINE % 1 + b"2024-01-15 08:23:45 ERROR " + b"word " * 2000 + b"\x1b" * 500 + b"\n")
    trial = try_lines(str(log), input_settings("-", field=(("a", "b"), ("c", "x" * 200))), max_lines=10)
    lines = trial_as_text("app.log", trial, columns=columns).splitlines()
    assert lines[0] == "INFO       2024-01-15 08:23:45  line 1"
    assert lines[1].startswith("           a=b  c=")
    second = next(line for line in lines if line.startswith("ERROR"))
    assert second.startswith("ERROR      2024-01-15 08:23:45  word")
    assert all(
        len(line) <= (max(columns or 80, 40) if number < lines.index("") else 80) for number, line in enumerate(lines)
    )
    assert lines.index("") < 30


def test_records_that_the_reader_of_json_does_not_take_are_shown(log: Path) -> None:
    log.write_bytes(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n" + b'{"n":' + b"9" * 6000 + b"}\n")
    trial = try_lines(str(log), input_settings("-", format="json"), max_lines=10)
    assert len(trial.records) == 2
    assert trial_as_text("app.log", trial, columns=80)


def test_words_and_numbers_make_no_difference_to_the_shape_of_a_text() -> None:
    assert shape_of("Starting pump 7 at 0x1f") == shape_of("Stopped the third pump 81 at 7e1d")
    assert shape_of('user "a b" left') != shape_of("user a b left")
    assert shape_of("x" * 10_000) == "a"


def test_the_rendering_is_that_of_ship(log: Path) -> None:
    trial = try_lines(str(log), input_settings("-"), max_lines=1000)
    assert b"".join(line + b"\n" for line in trial.records) == renderer(PLAIN).render(log.read_bytes()).payload


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("lines", [7, 5000])
def test_a_file_in_another_encoding_is_read_like_one_in_utf_8(log: Path, encoding: str, lines: int) -> None:
    mark = "\ufeff" if encoding.startswith("utf") else ""
    log.write_text(mark + "".join(f'{{"level":"info","msg":"\u00e9 {number}"}}\n' for number in range(7000)), encoding)
    trial = try_lines(str(log), input_settings(log, format="auto", encoding=encoding), max_lines=lines)
    assert (trial.lines, trial.recognised, trial.formats, trial.is_all) == (lines, lines, ["json"], False)
    assert trial.auto.format == "json"
    assert json.loads(trial.records[-1])["message"] == f"\u00e9 {lines - 1}"
