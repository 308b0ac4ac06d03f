"""What a store reports of one source, page by page."""

from pathlib import Path

import pytest

from logferry.server.storage.disk.integrity.source_report import report
from logferry.server.storage.disk.retention import kept_segments
from tests.support.delivery import LINES, DeliveryClient, batch, size_of
from tests.support.running import running_server


def test_a_page_of_a_report_ends_when_it_has_read_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.storage.disk.integrity.source_report._READ_BYTES", 10)
    with running_server(tmp_path, segment_bytes=100) as server, DeliveryClient(server, source="s1") as client:
        for number in range(3):
            client.send(batch([LINES[number]], start=size_of(LINES[:number])))
        while client.answer()["lines"] < 3:
            pass
        page = report(server.data_dir, "s1", after=0)
        assert (len(page.extents), page.has_more) == (1, True)
        assert not report(server.data_dir, "s1", after=size_of(LINES[:2])).has_more


def test_e19_what_retention_has_deleted_is_reported_as_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E19."""
    monkeypatch.setattr(kept_segments, "journal_bytes", lambda _: 0)  # what they have by then depends on another thread
    with (
        running_server(tmp_path, segment_bytes=1024, retention_bytes=2048) as server,
        DeliveryClient(server, source="s1") as client,
    ):
        for number in range(5):
            start = 10 * number
            client.send(batch(LINES[start : start + 10], start=size_of(LINES[:start])))
        while client.answer()["lines"] < 50:
            pass
    page = report(tmp_path / "data", "s1", after=0)
    assert [extent.state for extent in page.extents] == ["expired", "expired", "expired", "ok", "ok"]
    assert (page.lines, page.committed) == (50, size_of(LINES[:50]))
