"""The helpers around the system's file calls."""

import pytest

from logferry.server.storage.disk.files.file_system import for_each


@pytest.mark.parametrize("count", [0, 3, 100])
def test_what_is_done_for_each_is_done_for_all_before_it_returns_and_an_error_is_raised(count: int) -> None:
    done: list[int] = []
    for_each(done.append, range(count))
    assert sorted(done) == list(range(count))

    def fail(number: int) -> None:
        raise OSError(number, "no")

    if count:
        with pytest.raises(OSError, match="no"):
            for_each(fail, range(count))
