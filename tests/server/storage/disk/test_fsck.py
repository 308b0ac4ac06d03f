"""fsck finds what is wrong with segments, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.fsck import fsck
from tests.support.delivery import LINES, DeliveryClient, batch, size_of
from tests.support.running import running_server
from tests.support.stores import SIZE, problems, segments_of, small_disk, store_twelve


def test_fsck_finds_every_segment_sound_and_counts_it(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    size = size_of(LINES[10:13])
    findings = list(fsck(tmp_path))
    assert [finding.problem for finding in findings] == [""] * 4
    assert [(finding.bytes, finding.lines) for finding in findings] == [(size, 3)] * 4
    assert findings[0].path == "10.0.0.7/plain/2024-01-15-1.ndjson"


def test_fsck_reports_what_is_wrong_with_a_segment(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    first, second, third, fourth = segments_of(tmp_path)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    third.write_bytes(third.read_bytes().replace(b"line 17", b"line 71"))
    fourth.write_bytes(fourth.read_bytes().replace(b"\n", b" ", 1))
    assert problems(tmp_path) == [
        "is missing",
        f"lacks 10 of its {3 * SIZE} bytes",
        "has other content than was stored (checksum)",
        "has 2 lines, not 3",
    ]


def test_fsck_reports_bytes_added_to_a_closed_segment_but_not_to_the_open_one(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    for path in segments_of(tmp_path)[2:]:
        path.write_bytes(path.read_bytes() + LINES[10])
    assert problems(tmp_path) == ["", "", f"has {SIZE} bytes more than were stored", ""]


def test_fsck_of_a_folder_without_a_ledger_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no ledger"):
        list(fsck(tmp_path))


def test_fsck_may_run_beside_a_server(tmp_path: Path) -> None:
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:10], start=0) + batch(LINES[10:50], start=size_of(LINES[:10])))
        while client.answer()["lines"] < 50:
            assert set(problems(server.data_dir)) <= {""}
        assert problems(server.data_dir) == ["", ""]


def test_a_folder_on_a_volume_that_is_mounted_read_only_is_checked(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        store_twelve(disk / "data")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert problems(disk / "data") == [""] * 4
