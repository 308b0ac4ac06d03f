"""The compiled part: what is logged where it is missing."""

import pytest

from logferry import speedups


@pytest.mark.parametrize(
    ("compiled", "is_wanted", "is_checkout", "count"),
    [(None, True, False, 1), (None, False, False, 0), ("compiled", True, False, 0), (None, True, True, 0)],
)
def test_an_installation_without_the_compiled_part_says_so_unless_that_is_wanted(
    compiled: object,
    is_wanted: bool,
    is_checkout: bool,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(speedups, "compiled", compiled)
    monkeypatch.setattr(speedups, "_IS_WANTED", is_wanted)
    monkeypatch.setattr(speedups, "is_checkout", lambda: is_checkout)
    speedups.warn_if_slow()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * count
    assert all("C compiler" in record.getMessage() for record in caplog.records)
