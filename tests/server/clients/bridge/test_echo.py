"""The echo of stored lines: it never delays a delivery, and it never controls a terminal."""

import json
import logging
import threading
from pathlib import Path

import pytest

from logferry.server.clients.bridge.echo import Echo
from tests.support.running import DEADLINE_S, running_server

LINE = b'{"level": "INFO", "message": "one"}\n'


class SlowReader:
    """A standard output that nobody reads until it is released."""

    def __init__(self) -> None:
        self.taken = b""
        self.is_read = threading.Event()

    def __call__(self, lines: bytes) -> None:
        assert self.is_read.wait(DEADLINE_S)
        self.taken += lines


def test_a_reader_that_reads_nothing_costs_a_bounded_queue(caplog: pytest.LogCaptureFixture) -> None:
    """What does not fit is left out, counted, and reported once."""
    reader = SlowReader()
    echo = Echo(reader, max_bytes=10 * len(LINE))
    with caplog.at_level(logging.INFO):
        for _ in range(25):
            echo.put([LINE])
        reader.is_read.set()
        echo.close()
    assert reader.taken == 10 * LINE
    assert caplog.messages == [
        "standard output is read too slowly: some lines are not echoed; they are stored like all others",
        "15 stored lines were not echoed",
    ]


def test_lines_are_acked_while_nobody_reads_the_echo(tmp_path: Path) -> None:
    """Before, the first line that did not fit into the pipe stopped all acks."""
    reader = SlowReader()
    with running_server(tmp_path, echo=reader) as server, server.connect() as client:
        for _ in range(3):
            client.send(LINE)
            assert client.answers(1) == ["ok"]
        reader.is_read.set()
    assert reader.taken == 3 * LINE


def test_what_is_waiting_at_the_end_is_echoed() -> None:
    """A server that stops shows its last lines."""
    taken: list[bytes] = []
    echo = Echo(taken.append)
    echo.put([LINE, LINE])
    echo.close()
    assert b"".join(taken) == 2 * LINE


@pytest.mark.parametrize("char", ["\x7f", "\x9b", "\u202e", "\u2028", "\U000e0041", "\u200b"])
def test_an_echoed_line_controls_no_terminal_and_means_the_same(char: str) -> None:
    """A string of JSON may hold C1 controls, DEL and characters that reorder text."""
    line = json.dumps({"level": "INFO", "message": f"a{char}é"}, ensure_ascii=False).encode() + b"\n"
    taken: list[bytes] = []
    echo = Echo(taken.append)
    echo.put([line])
    echo.close()
    shown = b"".join(taken)
    assert json.loads(shown) == json.loads(line)
    assert shown.decode()[:-1].isprintable()
    assert "é" in shown.decode()


def test_white_space_between_values_becomes_spaces() -> None:
    """A carriage return would overwrite the line."""
    taken: list[bytes] = []
    echo = Echo(taken.append)
    echo.put([b'{"level":\t"INFO",\r"message": "x"}\r\n'])
    echo.close()
    assert taken == [b'{"level": "INFO", "message": "x"} \n']
