"""What counts as damage is decided once, and fsck, scrub, reports and repairs agree."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from logferry.protocol.delivery.answer_lines import read_answer
from logferry.protocol.messages.reports import ReportPage, report_line
from logferry.server.storage.disk.content import segment_bytes
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.integrity.damage import DamageRegistry, Judged
from logferry.server.storage.disk.integrity.judgement import Judgement, judge_extent, judge_segment
from logferry.server.storage.disk.ledger import Ledger
from tests.server.storage.disk.integrity.test_repair import SIZE, flip, repairs, ship
from tests.support.stores import opened, problems, segments_of

LOST = Judgement("unreadable", "cannot be read: Input/output error")
FORBIDDEN = Judgement("unreadable", "cannot be read: Permission denied", is_damage=False)


def fail_with(code: int) -> Callable[[pytest.MonkeyPatch, Path], object]:
    def fail(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
        def refuse(path: Path, flags: int) -> tuple[int, int]:
            raise OSError(code, os.strerror(code), str(path))

        monkeypatch.setattr(segment_bytes, "open_sized", refuse)

    return fail


def replace_folder(_: pytest.MonkeyPatch, path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"a file\n")


def make_pipe(_: pytest.MonkeyPatch, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CASES: list[tuple[str, Callable[[pytest.MonkeyPatch, Path], object], Judgement]] = [
    ("nothing", lambda _, path: None, Judgement("ok", is_damage=False)),
    ("flipped", lambda _, path: flip(path), Judgement("altered", "has other content than was stored (checksum)")),
    (
        "cut",
        lambda _, path: os.truncate(path, 5),
        Judgement("altered", f"lacks {20 * SIZE - 5} of its {20 * SIZE} bytes"),
    ),
    ("deleted", lambda _, path: path.unlink(), Judgement("missing", "is missing")),
    ("its folder is a file", replace_folder, Judgement("missing", "is missing")),
    ("it is a pipe", make_pipe, Judgement("unreadable", "cannot be read: it is a named pipe, not a file")),
    ("EIO", fail_with(errno.EIO), LOST),
    ("EACCES", fail_with(errno.EACCES), FORBIDDEN),
]


@pytest.mark.parametrize(("damage", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_view_of_a_segment_judges_it_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[pytest.MonkeyPatch, Path], object],
    expected: Judgement,
) -> None:
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 30)
        damage(monkeypatch, segments_of(tmp_path)[0])
        with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
            (segment,), (extent,) = ledger.segments(), ledger.extents("s1", after=0, limit=10)
            stored = StoredSegments(tmp_path / "segments", ledger)
            assert judge_segment(stored, segment) == judge_extent(stored, segment, extent) == expected
        assert problems(tmp_path) == [expected.problem]
        page = store.report("s1", 0)
        assert (page.extents[0].state, page.extents[0].problem) == (expected.state, expected.problem)
        assert store.health().damaged_extents == expected.is_damage


def test_what_cannot_be_read_now_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 30)
        content = segments_of(tmp_path)[0].read_bytes()
        with monkeypatch.context() as patch:
            fail_with(errno.EACCES)(patch, tmp_path)
            (request,) = repairs(tmp_path)
            outcome = store.repair(request)
        assert (outcome.is_whole, "cannot be read: Permission denied" in outcome.reason) == (False, True)
        assert segments_of(tmp_path)[0].read_bytes() == content
    assert not (tmp_path / "damaged").exists()


def test_clients_of_every_version_see_that_an_extent_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An early client takes a state that it does not know for proof that the lines are stored."""
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 30)
        fail_with(errno.EIO)(monkeypatch, tmp_path)
        line = report_line(store.report("s1", 0))
    assert b'"missing"' in line
    page = read_answer(line)
    assert isinstance(page, ReportPage)
    assert (page.extents[0].state, page.extents[0].problem) == ("unreadable", LOST.problem)


def test_a_report_is_answered_although_damage_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(registry: DamageRegistry, judged: Judged) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))

    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 30)
        flip(segments_of(tmp_path)[0])
        monkeypatch.setattr(DamageRegistry, "note", refuse)
        assert [store.report("s1", 0).extents[0].state for _ in range(3)] == 3 * ["altered"]
    warnings = [record.getMessage() for record in caplog.records if "cannot record" in record.getMessage()]
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]


def test_a_report_forgets_damage_that_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 30)
        flip(segments_of(tmp_path)[0])
        store.report("s1", 0)
        assert (store.health().damaged_extents, list(store.damaged_sources("client-1"))) == (1, ["s1"])
        flip(segments_of(tmp_path)[0])
        store.report("s1", 0)
        assert (store.health().damaged_extents, list(store.damaged_sources("client-1"))) == (0, [])
