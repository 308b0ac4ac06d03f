"""A batch run asks the server that answers what it has, and ships the rest; the checkpoint alone decides nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import DeliveryAbandoned
from logferry.telemetry.table import Counters
from tests.support.fakes import FakeServer, ack_every_line
from tests.support.processes import free_port
from tests.support.running import RunningServer, running_server
from tests.support.shipping import EVERY_WAY, append, assert_conserved, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")

Logs = Path | Sequence[Path | str]

WAYS = [*EVERY_WAY, pytest.param({"ack": "line"}, id="plain protocol")]


def run(log: Logs, port: int, folder: Path, **changes: Any) -> Counters:
    """Run a batch to its end; return what it counted."""
    with shipping(log, port, **once(folder, **changes)) as batch:
        assert batch.result().problems == ()
        return batch.counters


def new_and_before(log: Logs, server: RunningServer, folder: Path, **changes: Any) -> tuple[int, int]:
    counters = run(log, server.port, folder, **changes)
    return counters.lines_acked, counters.lines_stored_before


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_shipped_twice_is_stored_once(tmp_path: Path, way: dict[str, Any]) -> None:
    log = append(tmp_path / "app.log", range(23))
    with running_server(tmp_path) as server:
        assert new_and_before(log, server, tmp_path, **way) == (23, 0)
        assert new_and_before(log, server, tmp_path, **way) == (0, 23)
        append(log, range(23, 25))
        assert new_and_before(log, server, tmp_path, **way) == (2, 23)
        assert_conserved(range(25), server.stored_lines())


@pytest.mark.parametrize("way", WAYS)
def test_what_the_server_that_answers_does_not_have_is_shipped(tmp_path: Path, way: dict[str, Any]) -> None:
    """Neither the size of the file nor the checkpoint decides: another server is another server."""
    old, new = append(tmp_path / "old.log", range(10)), append(tmp_path / "new.log", range(10, 20))
    with running_server(tmp_path / "one") as one, running_server(tmp_path / "two") as two:
        assert new_and_before([old, new], one, tmp_path, **way) == (20, 0)
        append(new, range(20, 22))
        assert new_and_before([old, new], two, tmp_path, **way) == (22, 0)
        assert new_and_before([old, new], two, tmp_path, **way) == (0, 22)
        assert sorted(two.stored_lines()) == sorted({*one.stored_lines(), *two.stored_lines()})
        assert len(two.stored_lines()) == 22
        assert_conserved(range(20), sorted(one.stored_lines(), key=number_of))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rest", [b"\0" * 50, b"\n\n"], ids=["hole", "blank lines"])
def test_a_file_of_which_nothing_new_can_be_shipped_is_asked_about(
    tmp_path: Path, way: dict[str, Any], rest: bytes
) -> None:
    """It has more bytes than are stored, but no lines in them."""
    log = append(tmp_path / "app.log", range(10))
    log.write_bytes(log.read_bytes() + rest)
    with running_server(tmp_path / "one") as one, running_server(tmp_path / "two") as two:
        assert new_and_before(log, one, tmp_path, **way) == (10, 0)
        assert new_and_before(log, two, tmp_path, **way) == (10, 0)
        assert_conserved(range(10), two.stored_lines())
        assert new_and_before(log, two, tmp_path, **way) == (0, 10)


@pytest.mark.parametrize("way", WAYS)
def test_a_hole_is_counted_and_logged_once_although_it_is_read_again(
    tmp_path: Path, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What is new is read before the server answers that it has nothing at all."""
    log = append(tmp_path / "app.log", range(10))
    with running_server(tmp_path / "one") as one, running_server(tmp_path / "two") as two:
        run(log, one.port, tmp_path, **way)
        log.write_bytes(log.read_bytes() + b"\0" * 50)
        append(log, range(10, 20))
        assert run(log, two.port, tmp_path, **way).bytes_nul == 50
        assert caplog.text.count("skipped 50 NUL bytes") == 1
        assert_conserved(range(20), two.stored_lines())


def number_of(line: bytes) -> int:
    return int(line.split(b'"message": "line ')[1].split(b'"')[0])


def test_a_server_that_lost_its_data_gets_everything_again(tmp_path: Path) -> None:
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    with running_server(tmp_path / "one", server_port=port) as server:
        assert new_and_before(log, server, tmp_path) == (10, 0)
    with running_server(tmp_path / "two", server_port=port) as server:
        assert new_and_before(log, server, tmp_path) == (10, 0)
        assert_conserved(range(10), server.stored_lines())


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("lines", [0, 10])
def test_a_run_that_reaches_no_server_fails_even_if_nothing_is_new(tmp_path: Path, resume: bool, lines: int) -> None:
    log = append(tmp_path / "app.log", range(lines))
    with running_server(tmp_path) as server:
        run(log, server.port, tmp_path)
    with shipping(log, free_port(), **once(tmp_path, max_attempts=2, resume=resume)) as batch:
        with pytest.raises(DeliveryAbandoned, match="gave up after 2 failures"):
            batch.result()
        assert batch.counters.lines_acked == 0


def test_a_run_that_is_stopped_before_it_has_asked_fails(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(0))
    with shipping(log, free_port(), **once(tmp_path, max_attempts=0, backoff_max=1000.0)) as batch:
        batch.request_stop()
        with pytest.raises(DeliveryAbandoned, match="stopped; the server was not asked what it has"):
            batch.result()


@pytest.mark.parametrize("way", WAYS)
def test_again_ships_everything_once_more_on_purpose(tmp_path: Path, way: dict[str, Any]) -> None:
    log = append(tmp_path / "app.log", range(5))
    with running_server(tmp_path) as server:
        run(log, server.port, tmp_path, **way)
        assert new_and_before(log, server, tmp_path, resume=False, **way) == (5, 0)
        assert_conserved(range(5), server.stored_lines(), retried=5)
        assert len(server.stored_lines()) == 10
        assert new_and_before(log, server, tmp_path, **way) == (0, 5)


def test_many_quiet_files_are_asked_about_and_only_the_missing_ones_are_shipped(tmp_path: Path) -> None:
    """More files than are open at a time; each name is asked about, whatever its turn."""
    logs = [append(tmp_path / f"{number:03}.log", range(3 * number, 3 * number + 3)) for number in range(90)]
    with running_server(tmp_path / "one") as one, running_server(tmp_path / "two") as two:
        run(logs, one.port, tmp_path)
        run(logs[::2], two.port, tmp_path / "other")
        assert new_and_before(logs, one, tmp_path, max_open_files=8) == (0, 270)
        assert new_and_before(logs, two, tmp_path, max_open_files=8) == (270, 0)
        assert new_and_before(logs, two, tmp_path) == (0, 270)
        assert_conserved(range(270), sorted(one.stored_lines(), key=number_of))


def test_a_retry_after_a_failure_goes_on(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(2000))
    with running_server(tmp_path) as server:
        with shipping(log, server.port, **once(tmp_path, mode="continuous")) as batch:
            batch.wait_for_acks(1)
        append(log, range(2000, 3000))
        run(log, server.port, tmp_path)
        assert_conserved(range(3000), server.stored_lines())


def test_a_follower_gives_another_plain_receiver_everything(tmp_path: Path) -> None:
    """Checkpoints of the plain protocol count for their host and port alone.

    The receivers exist together: a port that was closed may be the next free one.
    """
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(ack_every_line) as first, FakeServer(ack_every_line) as second:
        for receiver, end in ((first, 10), (second, 12)):
            append(log, range(10, end))
            with shipping(log, receiver.port, **once(tmp_path, mode="continuous", ack="line")) as follower:
                follower.wait_for_acks(end)
                follower.stop()
            assert_conserved(range(end), receiver.lines)
