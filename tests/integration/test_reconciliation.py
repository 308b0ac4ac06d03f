"""A server that was set back, or another one at its address: quiet files are sent again once; what is gone is recorded.

The client connects when it starts, asks about every source that it remembers, and sends what the server lacks.
"""

import contextlib
import gzip
import logging
import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.positions import reconciliation
from logferry.client.finding import listing
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from tests.support.processes import free_port
from tests.support.running import DEADLINE_S, RunningServer, numbered_line, running_server, stored_lines, wait_until
from tests.support.shipping import Shipping, append, assert_conserved, log_line, losses, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Site:
    """Log files, a client that follows them, and a server whose data folder is set back or replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "app.log"
        self.data = folder / "data"
        self.port = free_port()

    def client(self, *names: Path | str, **changes: Any) -> AbstractContextManager[Shipping]:
        """Follow the log, or other files, with the same memory each time."""
        settings = {"mode": "continuous", "ack": "auto", "state_dir": self.folder / "state", **changes}
        return shipping(names or self.log, self.port, **settings)

    def server(self) -> AbstractContextManager[RunningServer]:
        """Run the server, always at the same address."""
        return running_server(self.folder, server_port=self.port)

    def back_up(self) -> None:
        """Copy the data folder."""
        shutil.copytree(self.data, self.folder / "copy")

    def restore(self) -> None:
        """Go back to the copy."""
        shutil.rmtree(self.data)
        shutil.copytree(self.folder / "copy", self.data)

    def wait_for_lines(self, count: int) -> None:
        """Wait until so many lines are stored."""
        wait_until(lambda: len(stored_lines(self.data)) >= count, f"{count} lines are stored")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def ship(site: Site, numbers: range, *names: Path | str, total: int) -> None:
    """Append lines, and let a client and a server that end again deliver them."""
    append(site.log, numbers)
    with site.server(), site.client(*names):
        site.wait_for_lines(total)


def assert_settled(site: Site, numbers: range) -> None:
    """Fail unless each line is stored once, and stays so when client and server are started once more."""
    assert_conserved(numbers, stored_lines(site.data))
    with site.server(), site.client():
        append(site.log, [numbers.stop])
        site.wait_for_lines(numbers.stop + 1)
    assert_conserved(range(numbers.stop + 1), stored_lines(site.data))


def assert_stored_once(site: Site, numbers: list[int]) -> None:
    """Fail unless exactly these lines are stored, each once, in whatever order the files were read."""
    assert sorted(stored_lines(site.data)) == sorted(map(numbered_line, numbers))


@pytest.mark.parametrize("resilient", [False, True], ids=["basic", "resilient"])
@pytest.mark.parametrize("client_restarts", [False, True], ids=["client runs on", "client restarts"])
def test_a_server_that_was_set_back_gets_what_it_lost_of_a_quiet_file(
    site: Site, client_restarts: bool, resilient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Rules E18 and E22."""
    caplog.set_level(logging.INFO)
    ship(site, range(100), total=100)
    site.back_up()
    append(site.log, range(100, 300))
    with contextlib.ExitStack() as stack:
        with site.server():
            run = stack.enter_context(site.client(resilient=resilient))
            run.wait_for_acks(200)
        site.restore()
        if client_restarts:
            run.stop()
            run = stack.enter_context(site.client(resilient=resilient))
        with site.server() as server:
            site.wait_for_lines(300)
            wait_until(lambda: run.counters.lines_acked >= (200 if client_restarts else 400), "all is acked")
            assert losses(server) == []
    assert "app.log: 127.0.0.1" in caplog.text
    assert "the server was set back: it had " in caplog.text
    assert_settled(site, range(300))


def test_another_store_at_the_same_address_gets_everything_that_the_files_have(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E22."""
    caplog.set_level(logging.INFO)
    ship(site, range(100), total=100)
    shutil.rmtree(site.data)
    with site.server(), site.client() as run:
        run.wait_for_acks(100)
        site.wait_for_lines(100)
    assert "another store: store " in caplog.text
    assert_settled(site, range(100))


def test_a_store_that_comes_back_goes_on_where_it_was(site: Site) -> None:
    ship(site, range(100), total=100)
    site.back_up()
    shutil.rmtree(site.data)
    ship(site, range(100, 200), total=200)
    site.restore()
    with site.server(), site.client() as run:
        run.wait_for_acks(100)
        site.wait_for_lines(200)
    assert_settled(site, range(200))


def rotate_by_rename(site: Site) -> None:
    site.log.rename(site.folder / "app.log.1")


def rotate_and_compress(site: Site) -> None:
    (site.folder / "app.log.1.gz").write_bytes(gzip.compress(site.log.read_bytes()))
    site.log.unlink()


@pytest.mark.parametrize("rotate", [rotate_by_rename, rotate_and_compress])
def test_rotated_files_that_the_client_has_closed_heal_a_store_too(site: Site, rotate: Any) -> None:
    """Rule E22: their sources are finished, but their bytes are still there."""
    ship(site, range(100), total=100)
    site.back_up()
    ship(site, range(100, 200), total=200)
    rotate(site)
    ship(site, range(200, 300), total=300)
    site.restore()
    with site.server() as server, site.client() as run:
        run.wait_for_acks(200)
        site.wait_for_lines(300)
        assert losses(server) == []
    assert_stored_once(site, [*range(300)])


def test_what_no_file_has_any_more_is_recorded_as_lost_for_that_store(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E22: the client says why, once, and the ledger has the range."""
    ship(site, range(100), total=100)
    size = site.log.stat().st_size
    site.back_up()
    ship(site, range(100, 200), total=200)
    end = site.log.stat().st_size
    site.log.unlink()
    site.log.write_bytes(b"")
    ship(site, range(200, 210), total=210)
    site.restore()
    for _ in range(2):  # the second run has nothing to add
        with site.server() as server, site.client() as run:
            site.wait_for_lines(110)
            wait_until(lambda: losses(server), "the loss is recorded")
            (loss,) = losses(server)
            assert (loss.start, loss.end) == (size, end)
            assert loss.reason.startswith(f"the server was set back: it had {end} bytes of this source on ")
            assert loss.reason.endswith("; the file is gone")
            lost = run.counters.bytes_lost
    assert lost == 0
    assert caplog.text.count("are lost: the server was set back") == 1
    assert_stored_once(site, [*range(100), *range(200, 210)])


def test_files_that_are_not_followed_any_more_are_neither_sent_again_nor_lost(site: Site) -> None:
    other = append(site.folder / "other.log", range(1000, 1010))
    ship(site, range(100), site.log, other, total=110)
    shutil.rmtree(site.data)
    with site.server() as server, site.client() as run:
        run.wait_for_acks(100)
        append(site.log, [100])
        run.wait_for_acks(101)
        assert losses(server) == []
    assert_stored_once(site, [*range(101)])


def test_many_quiet_files_are_asked_about_page_by_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E22."""
    monkeypatch.setattr(reconciliation, "PAGE_SOURCES", 7)
    monkeypatch.setattr(reconciliation, "PAGE_INTERVAL_S", 0.01)
    logs = [append(site.folder / f"{n}.log", range(n * 10, n * 10 + 10)) for n in range(40)]
    with site.server(), site.client(*logs):
        site.wait_for_lines(400)
    shutil.rmtree(site.data)
    with site.server(), site.client(*logs) as run:
        run.wait_for_acks(400)
    assert_stored_once(site, [*range(400)])


def test_what_was_not_asked_for_is_not_sent_to_another_store_either(site: Site) -> None:
    append(site.log, range(100))
    with site.server() as server, site.client(start_at="end") as run:
        wait_until(lambda: server.stats.connections == 1, "the client has opened its files, and connects")
        append(site.log, range(100, 110))
        run.wait_for_acks(10)
    shutil.rmtree(site.data)
    with site.server() as server, site.client(start_at="end") as run:
        run.wait_for_acks(10)
        assert [loss.end for loss in losses(server)] == [100 * len(log_line(10)) - 10]
    assert_stored_once(site, [*range(100, 110)])


def verified(site: Site, server: RunningServer) -> Verdict:
    """Return the verdict on the log, with what the state folder knows."""
    checkpoints = Checkpoints(site.folder / "state", read_only=True)
    reports = ReportClient(
        Endpoint(server.host, server.port),
        client_id=checkpoints.client_id,
        client_host="web-1",
        connect_timeout_s=DEADLINE_S,
        answer_timeout_s=DEADLINE_S,
    )
    with contextlib.closing(reports):
        return verify(site.log, checkpoints, reports)


def test_verify_says_that_a_server_was_set_back_until_it_is_healed(site: Site) -> None:
    ship(site, range(100), total=100)
    size = site.log.stat().st_size
    site.back_up()
    ship(site, range(100, 200), total=200)
    end = site.log.stat().st_size
    append(site.log, [200])
    site.restore()
    with site.server() as server:
        shipped, waiting = verified(site, server).missing
        assert (shipped.start, shipped.end, shipped.lines) == (size, end, 100)
        assert shipped.reason.startswith(f"the server was set back: it had {end} bytes of this source on ")
        assert (waiting.lines, waiting.reason) == (1, "not shipped yet")
        with site.client() as run:
            run.wait_for_acks(101)
            run.stop()
        assert verified(site, server).is_proven


def test_verify_says_that_it_asks_another_store(site: Site) -> None:
    ship(site, range(100), total=100)
    shutil.rmtree(site.data)
    with site.server() as server:
        problem = verified(site, server).problem
        assert problem.startswith("the server has never heard of source ")
        assert "another store: store " in problem
        assert f" had {site.log.stat().st_size} bytes of this source on " in problem
        with site.client() as run:
            run.wait_for_acks(100)
            run.stop()
        assert verified(site, server).is_proven


def test_a_folder_is_listed_once_for_all_files_that_are_found_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(site, range(10), total=10)
    site.back_up()
    for number in range(1, 30):
        ship_and_rotate(site, number)
    site.restore()
    listed: list[str] = []
    list_folder = listing._list

    def count(folder: str) -> listing.Listing:
        listed.append(folder)
        return list_folder(folder)

    monkeypatch.setattr(listing, "_list", count)
    with site.server():
        os.utime(site.folder, (0, 0))  # or the folder could be listed again and again: it may change within a tick
        with site.client() as run:
            run.wait_for_acks(290)
    assert_stored_once(site, [*range(300)])
    assert listed.count(str(site.folder)) < 12


def ship_and_rotate(site: Site, number: int) -> None:
    """Rotate the log, and write ten lines more; the client of the last round ships them all."""
    site.log.rename(site.folder / f"app.log.{number}")
    append(site.log, range(10 * number, 10 * number + 10))
    if number == 29:
        with site.server(), site.client():
            site.wait_for_lines(300)
