"""Client and server are killed while events of several lines, or parts of long ones, are written between them."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.builders import append
from tests.support.events import event, judge, lines_in, lines_of
from tests.support.processes import QUICK, client, free_port, server
from tests.support.running import stored_lines, wait_until

RESILIENT = ("--resilient", "--buffer-size", "20", "--compress")
VICTIMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "client": (("client",), ()),
    "client, resilient": (("client",), RESILIENT),
    "server, resilient": (("server",), RESILIENT),
    "both": (("client", "server"), ()),
}
JOINING = ("--mode", "continuous", "--multiline", "timestamp", "--multiline-timeout", "0.05")


def pieces() -> list[bytes]:
    """Return the bytes of some hundred events in pieces that end anywhere: in events, and in lines."""
    data = b"".join(event(number, 1 + number % 7) for number in range(400))
    sizes = itertools.cycle((300, 2500, 1111, 40, 7000, 1))
    cuts = [0, *itertools.takewhile(lambda end: end < len(data), itertools.accumulate(sizes)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize(("victims", "words"), VICTIMS.values(), ids=VICTIMS)
def test_whoever_is_killed_while_events_are_written_nothing_is_lost_or_repeated(
    tmp_path: Path, victims: Sequence[str], words: tuple[str, ...]
) -> None:
    log, data, port = tmp_path / "app.log", tmp_path / "data", free_port()
    to_write = pieces()
    with ExitStack() as stack:
        running = stack.enter_context(server(data, folder=tmp_path, port=port))
        shipper = stack.enter_context(client(log, port, *QUICK, *JOINING, *words, folder=tmp_path))
        share = len(to_write) // 4 + 1
        for begin in range(0, len(to_write), share):
            before = len(stored_lines(data))
            for piece in to_write[begin : begin + share]:
                append(log, piece)
            wait_until(lambda: len(stored_lines(data)) > before, "events are stored")  # noqa: B023
            if "client" in victims:
                shipper.kill()
            if "server" in victims:
                running.program.kill()
                running = stack.enter_context(server(data, folder=tmp_path, port=port))
            if "client" in victims:
                shipper = stack.enter_context(client(log, port, *QUICK, *JOINING, *words, folder=tmp_path))
        wait_until(lambda: len(lines_in(stored_lines(data))) >= len(lines_of(log)), "all lines are stored")
        assert shipper.terminate() == 0, shipper.stderr
        (verdict,) = judge(port, tmp_path / "state", log)
    assert lines_in(stored_lines(data)) == lines_of(log)
    assert verdict.is_proven, verdict
    assert verdict.stored == len(stored_lines(data))
