"""What journals say about whole sources is kept outside of the memory, however many sources they name."""

import sqlite3
import tracemalloc
from contextlib import closing
from unittest.mock import Mock

import pytest

from logferry.server.storage.disk.journals.journal import Journal, Origin, State
from logferry.server.storage.disk.recovery.named_sources import NamedSources


def piece(*sources: str, path: str = "/var/log/app.log", states: dict[str, list[State]] | None = None) -> Journal:
    return Journal(sources={source: Origin("client", "host", path) for source in sources}, states=states or {})


def test_sources_come_in_the_order_in_which_they_were_named_first_with_their_last_origin() -> None:
    with closing(NamedSources()) as named:
        named.add(piece("b", "a"))
        named.add(piece("c", "b", path="/var/log/other.log"))
        assert [(source, origin.path) for source, origin in named.origins()] == [
            ("b", "/var/log/other.log"),
            ("a", "/var/log/app.log"),
            ("c", "/var/log/other.log"),
        ]


def test_the_last_states_of_a_source_are_known_in_order() -> None:
    with closing(NamedSources()) as named:
        for first in range(0, 12, 3):
            named.add(piece("a", states={"a": [State(number, 0, 0) for number in range(first, first + 3)]}))
        assert [state.committed for state in named.last_states("a")] == [*range(4, 12)]
        assert named.last_states("b") == []


def test_a_source_counts_once_whatever_is_said_of_it() -> None:
    with closing(NamedSources()) as named:
        named.add(piece("a", "b", states={"b": [State(1, 1, 1)], "c": [State(1, 1, 1)]}))
        assert len(named) == 3


def test_a_hundred_thousand_sources_take_little_memory() -> None:
    with closing(NamedSources()) as named:
        tracemalloc.start()
        try:
            for first in range(0, 100_000, 1000):
                names = [f"source-{number}" for number in range(first, first + 1000)]
                named.add(piece(*names, states={name: [State(1, 1, 1)] for name in names}))
            assert sum(1 for _ in named.origins()) == 100_000
            assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
        finally:
            tracemalloc.stop()


def test_a_failure_of_the_temporary_file_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Mock()
    table.executemany.side_effect = sqlite3.OperationalError("database or disk is full")
    monkeypatch.setattr("logferry.server.storage.disk.recovery.named_sources.sqlite3.connect", lambda *_, **__: table)
    with pytest.raises(OSError, match="temporary file of SQLite: database or disk is full"):
        NamedSources().add(piece("a"))
