"""`logferry fsck` as people see it: the table, and what a rebuild says."""

from pathlib import Path

import pytest

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.server.fsck import run
from logferry.errors import LogferryError
from logferry.server.storage.disk.journals.journal import journal_path
from tests.support.stores import segments_of, store_twelve


def fsck(data_dir: Path, *words: str) -> int:
    return run(["--data-dir", str(data_dir), *words])


def test_the_table_counts_segments_and_names_everything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store_twelve(tmp_path)
    assert fsck(tmp_path) == EXIT_OK
    assert capsys.readouterr().out.splitlines()[-1] == "4 segments, 12 lines, 0 damaged"
    (tmp_path / "notes\x1b[2J").write_bytes(b"")
    assert fsck(tmp_path) == EXIT_OK
    (segments_of(tmp_path)[0].parent / "2024-01-16-1.ndjson").write_bytes(b"unknown\n")
    assert fsck(tmp_path) == EXIT_INCOMPLETE
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "4 segments, 12 lines, 0 damaged; 2 other findings, 1 of them problems"
    assert "\x1b" not in shown


def test_a_rebuild_says_what_it_made_and_what_it_could_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_twelve(tmp_path)
    (tmp_path / "ledger.sqlite3").unlink()
    with pytest.raises(LogferryError, match="`logferry fsck --rebuild`"):
        fsck(tmp_path)
    assert fsck(tmp_path, "--rebuild") == EXIT_OK
    assert capsys.readouterr().out == "made the ledger anew: 4 segments, 12 lines, 0 sources, 0 remarks\n"
    journal_path(segments_of(tmp_path)[0]).unlink()
    assert fsck(tmp_path, "--rebuild") == EXIT_INCOMPLETE
    first, last = capsys.readouterr().out.splitlines()
    assert "2024-01-15-1.ndjson has no journal" in first
    assert last.endswith("1 remarks; the old one is kept as ledger.sqlite3.damaged-1")
    assert fsck(tmp_path) == EXIT_OK
