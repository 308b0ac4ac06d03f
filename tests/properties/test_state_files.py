"""State files that are damaged or forged: never a traceback, nothing skipped in silence, and what was there is kept.

Every file of a state folder is altered, value by value with hostile ones, and at random; then everything that reads the
folder does.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.cli.client.status_report import status_as_json, status_as_table
from logferry.client.delivery.outputs.encoding import DeliveryEncoder, open_line
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.proof.verify import find_checkpoints
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.known_losses import KnownLosses
from logferry.client.state.last_look import LastLook
from logferry.client.state.losses_file import read_losses
from logferry.client.status import acknowledged, snapshot
from logferry.client.status.acknowledged import acknowledge
from logferry.client.status.connection_state import ConnectionState
from logferry.client.status.inspect import inspect
from logferry.client.status.snapshot import ClientReport, Status
from logferry.errors import StateError
from logferry.model.batch import Batch
from logferry.model.file_report import FileReport
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow
from logferry.telemetry.table import Counters
from tests.support.shipping import append, ship_settings

HOSTILE: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.5, 2**63, 2**64, 2**70, 10**4000, 1e300, float("inf"), float("nan")),
    *("", "x", "\0", "a\0b", "\ud800", "\udcff", "../../x", "x" * 100_000, "\x1b[2J\n", "(", "regex:(", "regex:"),
    *([], [[]], [None], [[0, {}]], ["x"], [["a", 1, 1.0]], [["a", -1, float("nan")]], [1, 2], [1, 2, 3]),
    *({}, {"a": 1}, {"format": "no such"}, [[0, {"multiline": "("}]], [[0, {"redact": [1]}]], [[-5, {}]]),
    *([[0, {"max_line_bytes": 0}]], [[0, {"fields": [1]}]], [[0, {"include": ["("]}]], [[2**70, {}]]),
]
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The state folder of a client that has shipped half of a file and has lost something, and what is in its files."""
    folder = state_folder(tmp_path_factory.mktemp("client"))
    return folder, {path.name: path.read_bytes() for path in folder.iterdir()}


def restored(shipped: tuple[Path, dict[str, bytes]]) -> Path:
    """Return the folder with the files that it had."""
    folder, contents = shipped
    shutil.rmtree(folder)
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def state_folder(place: Path) -> Path:
    log, folder = append(place / "app.log", range(10)), place / "state"
    status = os.stat(log)
    checkpoints = Checkpoints(folder)
    with_all = RenderSpec(format="regex:(?P<message>.*)", fields=(("a", "b"),), include=("x",), redact=("email",))
    source = Source(str(log), "s1", status.st_dev, status.st_ino, head=log.read_bytes()[:1024])
    source.committed, source.lines, source.store, source.server = 100, 2, "store", "logs:9000"
    source.tail = log.read_bytes()[:100]
    source.renderings = [(0, RenderSpec()), (50, with_all)]
    checkpoints.register(source)
    source.committed, source.store, source.tail = 50, "other", log.read_bytes()[:50]
    checkpoints.learn_extension("logs:9000")
    checkpoints.close()
    losses = KnownLosses(folder)
    losses.add_loss(str(log), "s1", 10, 20, "refused by the server: no")
    losses.add_window(UnknownWindow(str(log), "s1", 100, 1.7e9, 1.8e9, "it is gone"))
    losses.close()
    client = ClientReport(
        pid=1, mode="batch", server="logs:9000", started_at=1.7e9, written_at=1.7e9, counters=Counters(lines_acked=5)
    )
    report = FileReport(str(log), str(log), "s1", status.st_dev, status.st_ino, 500, 100, 100, behind_since=1.7e9)
    link = ConnectionState("waiting", 1.7e9, "exactly once", "away", 1.7e9)
    content = snapshot.encode(Status(client, (report,)))
    content = content.replace(b'"client": {', b'"client": {"link": ' + json.dumps(vars_of(link)).encode() + b", ")
    (folder / snapshot.STATUS_FILE).write_bytes(content)
    acknowledge(folder, number=1, client=client)
    (folder / "last-look").touch()
    return folder


def vars_of(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__dataclass_fields__}


def use(folder: Path) -> None:
    """Do everything that reads a state folder. Only a StateError may come of it, and only where one looks at it."""
    with suppress(StateError):
        status = inspect(folder, now=time.time())
        status_as_table(status, shows_all=True)
        json.loads(status_as_json(status))
    log = folder.parent / "app.log"
    losses = KnownLosses(folder, acknowledged=lambda: acknowledged.read(folder).number)
    checkpoints = Checkpoints(folder)
    try:
        reader = FollowReader(
            ship_settings(log, 1, mode="continuous").inputs,
            recogniser=Recogniser(checkpoints),
            last_look=LastLook(folder),
            known_losses=losses,
        )
        reader.poll()
        for _ in range(3):
            chunk = reader.read(max_lines=None)
            reader.take_losses()
            if chunk is not None:
                chunk.source.lines += 1
                json.loads(open_line(chunk.source))
                batch = Batch(chunk.source, chunk.start, chunk.end, b"{}\n", 1, rendering=chunk.rendering)
                list(DeliveryEncoder(ship_settings(log, 1)).pieces(batch))
                checkpoints.register(chunk.source)
        for source_id in checkpoints.known_ids():
            known = checkpoints.known_source(source_id)
            assert known is not None
            checkpoints.why_missing(known, "store", found=0)
            reader.rewind(known, 0)
        list(reader.report())
        with closing(SourceFile(log, max_line_bytes=1000)) as file:
            find_checkpoints(file, checkpoints)
        reader.close()
        losses.close()
    finally:
        checkpoints.close()
    read_losses(folder)
    assert {known.id for known in Checkpoints(folder, read_only=True)}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value in a JSON document."""
    yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from places(part, (*path, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from places(part, (*path, number))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """Return a document with one value replaced."""
    if not path:
        return by
    first, *rest = path
    if isinstance(value, dict):
        return {name: replaced(part, tuple(rest), by) if name == first else part for name, part in value.items()}
    return [replaced(part, tuple(rest), by) if number == first else part for number, part in enumerate(value)]


FILES = ["checkpoints.json", "losses.json", "status.json", "acknowledged.json"]


def documents(content: bytes) -> list[Any]:
    """Return the documents of a file: one for each line of a journal."""
    try:
        return [json.loads(content)]
    except ValueError:
        return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=100)
@given(data=st.data())
def test_no_value_of_a_state_file_ends_the_client(
    name: str, shipped: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    folder = restored(shipped)
    path = folder / name
    parts = documents(path.read_bytes())
    number = data.draw(st.sampled_from(range(len(parts))))
    where = data.draw(st.sampled_from(list(places(parts[number]))))
    parts[number] = replaced(parts[number], where, data.draw(st.sampled_from(HOSTILE)))
    path.write_text("".join(json.dumps(part) + "\n" for part in parts))
    use(folder)


@pytest.mark.parametrize("name", [*FILES, "last-look"])
@settings(max_examples=50)
@given(data=st.data())
def test_no_bytes_of_a_state_file_end_the_client(
    name: str, shipped: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    folder = restored(shipped)
    path = folder / name
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    path.write_bytes(content)
    use(folder)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_deep(path: Path) -> None:
    path.write_text(DEEP)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_far(path: Path) -> None:
    path.touch()
    os.utime(path, (2**62, 2**62) if path.name == "last-look" else None)


@pytest.mark.parametrize("name", [*FILES, "last-look"])
@pytest.mark.parametrize("make", [make_fifo, make_deep, make_folder, make_far])
def test_whatever_lies_in_place_of_a_state_file_ends_nothing_and_holds_nothing_up(
    name: str, make: Callable[[Path], None], shipped: tuple[Path, dict[str, bytes]]
) -> None:
    folder = restored(shipped)
    (folder / name).unlink()
    make(folder / name)
    with suppress(StateError):
        use(folder)
