"""A large ledger is checked while the store runs; damage ends the store, and keeps the next one from starting."""

import threading
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.database import soundness as ledger_check
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.store import StoreState
from tests.support.running import DEADLINE_S, wait_until
from tests.support.stores import LINES, Stored, delivery, opened, parts_of, submit_each


@pytest.fixture
def checkers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that check a ledger."""
    names: list[str] = []
    check = Ledger._problems

    def noted(ledger: Ledger) -> list[str]:
        names.append(threading.current_thread().name)
        return check(ledger)

    monkeypatch.setattr(Ledger, "_problems", noted)
    return names


def _damage_a_table(data_dir: Path) -> None:
    """Damage the ledger so that it opens and stores, and SQLite's check finds it."""
    with opened(data_dir) as store:
        submit_each(store, LINES[:2], Stored())
    ledger = Ledger(data_dir, durable=False, read_only=True)
    ((page,),) = ledger._query("SELECT rootpage FROM sqlite_master WHERE name = 'windows'")
    ledger.close()
    with (data_dir / "ledger.sqlite3").open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(bytes(4096))


def test_a_ledger_of_usual_size_is_checked_before_the_start(tmp_path: Path, checkers: list[str]) -> None:
    with opened(tmp_path) as store:
        assert checkers == ["MainThread"]
        assert parts_of(store).ledger_check is None


def test_a_large_ledger_does_not_delay_the_start(
    tmp_path: Path, checkers: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with opened(tmp_path) as store:
        submit_each(store, LINES[:2], Stored())
    checkers.clear()
    monkeypatch.setattr(ledger_check, "MAX_AT_START_BYTES", 1000)
    with opened(tmp_path) as store:
        submit_each(store, LINES[2:4], Stored())
        wait_until(lambda: "the ledger is sound" in caplog.text, "it is checked")
        assert store.health().state is StoreState.STORING
    assert checkers == ["logferry-ledger-check"]
    assert not (tmp_path / ledger_check.MARK_NAME).exists()


def test_damage_of_a_large_ledger_ends_the_store_and_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _damage_a_table(tmp_path)
    monkeypatch.setattr(ledger_check, "MAX_AT_START_BYTES", 1000)
    failed, late = threading.Event(), Stored()
    with opened(tmp_path, on_failure=failed.set) as store:
        assert failed.wait(DEADLINE_S)
        health = store.health()
        assert health.state is StoreState.FAILED
        assert health.reason.startswith("the ledger is damaged: ")
        store.submit(delivery(LINES[5]), late)
        assert store.close(DEADLINE_S) == 1
    assert caplog.text.count("`logferry fsck --rebuild`") == 1
    assert late.lines == []
    with pytest.raises(StoreError, match=r"is damaged.*--rebuild"), opened(tmp_path):
        pass  # at once: nothing is stored into it
    assert [finding.path for finding in fsck(tmp_path) if finding.problem] == ["ledger.sqlite3"]
    rebuild(tmp_path)
    with opened(tmp_path) as store:
        submit_each(store, LINES[6:7], Stored())
    assert not (tmp_path / ledger_check.MARK_NAME).exists()


def test_a_check_that_is_going_on_delays_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        submit_each(store, LINES[:2], Stored())
    begun = threading.Event()

    def endless(ledger: Ledger) -> list[str]:
        begun.set()
        ledger._query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
        return []

    monkeypatch.setattr(ledger_check, "MAX_AT_START_BYTES", 1000)
    monkeypatch.setattr(Ledger, "problems", endless)
    with opened(tmp_path) as store:
        assert begun.wait(DEADLINE_S)
        check = parts_of(store).ledger_check
    assert check is not None
    wait_until(lambda: not check._worker.is_running, "the check has ended")
