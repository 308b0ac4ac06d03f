"""The compiled part: what is logged where it is missing."""

import pytest

from logferry import speedups


@pytest.mark.parametrize(("compiled", "is_wanted", "count"), [(None, True, 1), (None, False, 0), ("compiled", True, 0)])
def test_a_process_without_the_compiled_part_says_so_unless_that_is_wanted(
    compiled: object, is_wanted: bool, count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(speedups, "compiled", compiled)
    monkeypatch.setattr(speedups, "_IS_WANTED", is_wanted)
    speedups.warn_if_slow()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * count
    assert all("C compiler" in record.getMessage() for record in caplog.records)
