"""What happens to a source when the server has it up to another place than the client thinks."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from logferry.client.delivery.batches.batches import Claim, RenderedRange
from logferry.client.readers.rerender import do_nothing
from logferry.client.state.checkpoints import Checkpoints
from logferry.model.batch import Batch
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from tests.support.delivery import DeliveryClient, batch
from tests.support.engines import engine_to_server
from tests.support.running import RunningServer, numbered_line
from tests.support.shipping import once, ship_settings

LINES = [numbered_line(number) for number in range(10)]
SIZE = len(LINES[0])

PLAIN, JSON = RenderSpec(), RenderSpec(format="json")


class Script:
    """A producer with a list of batches of one source, read in turn; when it is sent back, it goes on with `again`."""

    is_busy = False
    wake_fds = ()
    patience_s = 0.0

    def __init__(self, batches: Iterable[Batch], again: RenderSpec) -> None:
        self._batches = list(batches)
        self.source = self._batches[0].source
        self._again = again
        self.sent_back: list[int | None] = []

    @property
    def is_finished(self) -> bool:
        return not self._batches

    def next_batch(self) -> Batch | None:
        return self._batches.pop(0) if self._batches else None

    def tick(self) -> None:
        pass

    def stop(self) -> None:
        self._batches.clear()

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        self.sent_back.append(offset)
        assert offset is not None
        self._batches = batches(source, self._again, offset // SIZE)

    def crc32_behind(self, wanted: RenderedRange, *, between: Callable[[], object] = do_nothing) -> int:
        return zlib.crc32(b"".join(LINES[wanted.start // SIZE : wanted.end // SIZE]), wanted.crc32)

    def holds(self, claim: Claim, *, between: Callable[[], object] = do_nothing) -> bool:
        return False


def batches(source: Source, rendering: RenderSpec, first: int) -> list[Batch]:
    """Return each line from the number `first` on as a batch."""
    return [
        Batch(source, n * SIZE, (n + 1) * SIZE, LINES[n], 1, epoch=source.epoch, rendering=rendering)
        for n in range(first, len(LINES))
    ]


def run(tmp_path: Path, server: RunningServer, producer: Script) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path / "state")
    checkpoints.register(producer.source)  # by the earlier run
    checkpoints.client_id = "test"  # that of DeliveryClient
    settings = ship_settings(tmp_path / "app.log", server.port, **once(tmp_path))
    engine_to_server(producer, settings, checkpoints).run()
    checkpoints.close()
    return checkpoints


@pytest.mark.parametrize("stored", [0, 3, 5, 7, 10])
def test_a_source_goes_on_where_the_server_has_it_and_its_renderings_are_those_of_what_is_stored(
    tmp_path: Path, server: RunningServer, stored: int
) -> None:
    """Rules E17 and E18.

    The checkpoint is at line 5; of the lines after it an earlier run has sent some, rendered otherwise from line 7 on.
    """
    if stored:
        with DeliveryClient(server, source="s1") as earlier:
            earlier.send(batch(LINES[:stored], start=0))
            earlier.answer_after_alive()
    crc32 = zlib.crc32(b"".join(LINES[:5]))
    source = Source(str(tmp_path / "app.log"), id="s1", committed=5 * SIZE, lines=5, crc32=crc32)
    source.renderings = [(0, PLAIN), (7 * SIZE, JSON)]
    producer = Script(batches(source, PLAIN, 5), again=RenderSpec(format="logfmt"))
    (checkpoint,) = run(tmp_path, server, producer)
    assert server.stored_lines() == LINES
    assert (checkpoint.committed, checkpoint.lines) == (10 * SIZE, 10)
    again = (stored * SIZE, RenderSpec(format="logfmt"))
    assert (
        checkpoint.renderings
        == {
            0: (again,),
            3: ((0, PLAIN), again),
            5: ((0, PLAIN),),
            7: ((0, PLAIN),),
            10: ((0, PLAIN), (7 * SIZE, JSON)),
        }[stored]
    )
    assert producer.sent_back == ([stored * SIZE] if stored in (0, 3) else [])
