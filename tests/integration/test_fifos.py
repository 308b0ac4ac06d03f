"""FIFOs as log files, and what cannot be read again while no server is there: nothing is given up, nothing is lost."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from logferry.config import ShipSettings, load
from logferry.errors import DeliveryAbandoned, SourceError
from tests.support.processes import free_port
from tests.support.running import DEADLINE_S, RunningServer, running_server, wait_until
from tests.support.shipping import append, assert_conserved, log_line, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "app.pipe"
    os.mkfifo(path)
    return path


def write(fifo: Path, numbers: Iterable[int]) -> None:
    """Write lines as a program does whose output is the FIFO, which may have to wait for its reader."""

    def run() -> None:
        with fifo.open("wb") as file:
            file.writelines(map(log_line, numbers))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_fifo_is_shipped_until_its_writer_ends(tmp_path: Path, server: RunningServer, fifo: Path) -> None:
    with shipping(fifo, server.port, **once(tmp_path)) as run:
        write(fifo, range(10_000))
        assert not run.result().problems
    assert_conserved(range(10_000), server.stored_lines())


def test_a_followed_fifo_is_read_for_one_writer_after_another(
    tmp_path: Path, server: RunningServer, fifo: Path
) -> None:
    with shipping(fifo, server.port, **once(tmp_path, mode="continuous")) as run:
        for first in (0, 100):
            write(fifo, range(first, first + 100))
            run.wait_for_acks(first + 100)
        run.stop()
    assert_conserved(range(200), server.stored_lines())


def test_a_fifo_among_files_is_refused_with_the_reason(tmp_path: Path, server: RunningServer, fifo: Path) -> None:
    with (
        shipping([fifo, append(tmp_path / "app.log", range(3))], server.port, **once(tmp_path)) as run,
        pytest.raises(SourceError, match="a FIFO must be the only input"),
    ):
        run.result()


@pytest.mark.parametrize("changes", [{}, {"ack": "line"}], ids=str)
def test_what_cannot_be_read_again_is_not_given_up_while_there_is_no_server(
    tmp_path: Path, fifo: Path, changes: dict[str, Any]
) -> None:
    """Twice as many failures as a batch run of files survives."""
    port = free_port()
    with shipping(fifo, port, **once(tmp_path) | changes) as run:
        write(fifo, range(1000))
        wait_until(lambda: run.is_over or run.counters.reconnects >= 10, "it has failed often")
        with running_server(tmp_path, server_port=port) as server:
            assert not run.result().problems
            assert_conserved(range(1000), server.stored_lines())


@pytest.mark.parametrize("limit", [{"max_attempts": 2}, {"deadline": 0.2}], ids=str)
def test_it_is_given_up_when_the_user_wants_that(tmp_path: Path, fifo: Path, limit: dict[str, Any]) -> None:
    with shipping(fifo, free_port(), **once(tmp_path, **limit)) as run:
        write(fifo, range(10))
        with pytest.raises(DeliveryAbandoned):
            run.result()


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_every_name_of_standard_input_means_standard_input(name: str) -> None:
    (settings,) = load(ShipSettings, {"log_file": name}, {}).inputs
    assert settings.log_file == ("-",)
