"""Logs that are not UTF-8 on their way to a server: each line is stored once, and `verify` and `repair` know it."""

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from tests.support.events import checkpoint_of, extents, prove
from tests.support.following import Scene, settle_copies_at_once
from tests.support.running import RunningServer, numbered_line, wait_until
from tests.support.shipping import (
    assert_conserved,
    log_line,
    losses,
    once,
    shipping,
    the_segment,
)

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

BOMS = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff", "latin-1": b"", "cp1252": b"", "utf-8": b"\xef\xbb\xbf"}
every_encoding = pytest.mark.parametrize("encoding", BOMS)
both_orders = pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def lines(numbers: Iterable[int], encoding: str) -> bytes:
    return b"".join(map(log_line, numbers)).decode().encode(encoding)


def write(log: Path, numbers: Iterable[int], encoding: str, *, begins: bool = False) -> None:
    with log.open("ab") as file:
        file.write((BOMS[encoding] if begins else b"") + lines(numbers, encoding))


@every_encoding
@pytest.mark.parametrize("ack", ["auto", "line", "none"])
def test_every_line_is_stored_whatever_the_encoding_and_the_acks(
    log: Path, server: RunningServer, encoding: str, ack: str
) -> None:
    write(log, range(3000), encoding, begins=True)
    with shipping(log, server.port, ack=ack, encoding=encoding) as run:
        assert run.result().problems == ()
    wait_until(lambda: len(server.stored_lines()) >= 3000, "all is stored")
    assert_conserved(range(3000), server.stored_lines())


@both_orders
def test_a_byte_order_mark_decides_and_positions_are_those_of_the_file(
    log: Path, server: RunningServer, encoding: str
) -> None:
    """In what the server has (extents), in the checkpoint, and in the proof."""
    write(log, range(100), encoding, begins=True)
    for upto in (100, 250):
        write(log, range(100, upto), encoding)
        with shipping(log, server.port, **once(log.parent)) as run:
            assert run.result().problems == ()
        assert checkpoint_of(log.parent / "state", log).committed == log.stat().st_size
        (extent,) = extents(server.data_dir)
        assert (extent.start, extent.end, extent.lines) == (0, log.stat().st_size, upto)
        prove(server.port, log.parent / "state", log)
    assert_conserved(range(250), server.stored_lines())


def test_the_message_is_what_was_written(log: Path, server: RunningServer) -> None:
    texts = ["\u00e4\u00f6\u00fc \u20ac", "\u65e5\u672c\u8a9e \u0a0a\u010a", "\U0001f600", "\ufeff in the middle"]
    log.write_bytes("\ufeff".encode("utf-16-le") + "".join(f"{text}\r\n" for text in texts).encode("utf-16-le"))
    with shipping(log, server.port, **once(log.parent)) as run:
        assert run.result().problems == ()
    assert [json.loads(record)["message"] for record in server.stored_lines()] == texts


@both_orders
def test_what_is_damaged_on_the_server_is_found_and_sent_again(
    log: Path, server: RunningServer, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, range(50), encoding, begins=True)
    with shipping(log, server.port, **once(log.parent)) as run:
        run.result()
    segment = the_segment(server)
    segment.write_bytes(segment.read_bytes().replace(b"line 3", b"LINE 3"))
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(log.parent / "state"))
    where = ("--server-host", "127.0.0.1", "--server-port", str(server.port))
    assert main(["verify", "--log-level", "error", "--log-file", str(log), *where]) == 3
    assert main(["repair", "--log-level", "error", "--log-file", str(log), *where]) == 0
    prove(server.port, log.parent / "state", log)
    assert_conserved(range(50), server.stored_lines())


@both_orders
def test_another_encoding_holds_for_what_is_new(log: Path, server: RunningServer, encoding: str) -> None:
    """Without a byte order mark, and with a first line that nothing shows to be UTF-16."""
    first = "\u65e5\u672c\u8a9e\u304c\n".encode(encoding)
    log.write_bytes(first)
    with shipping(log, server.port, **once(log.parent)) as run:
        run.result()
    misread = len(server.stored_lines())
    before = checkpoint_of(log.parent / "state", log).committed
    write(log, range(20), encoding)
    with shipping(log, server.port, **once(log.parent), encoding=encoding) as run:
        assert run.result().problems == ()
    renderings = checkpoint_of(log.parent / "state", log).renderings
    assert [(start, spec.encoding) for start, spec in renderings] == [(0, "utf-8"), (before, encoding)]
    assert server.stored_lines()[misread:] == [numbered_line(number) for number in range(20)]
    prove(server.port, log.parent / "state", log)


@every_encoding
def test_a_client_that_is_killed_before_it_saves_its_acks_repeats_nothing(
    log: Path, server: RunningServer, encoding: str
) -> None:
    state, kept = log.parent / "state", log.parent / "kept"
    write(log, range(10), encoding, begins=True)
    with shipping(log, server.port, **once(log.parent), encoding=encoding) as run:
        run.result()
    shutil.copytree(state, kept)
    write(log, range(10, 30), encoding)
    with shipping(log, server.port, **once(log.parent), encoding=encoding) as run:
        run.result()
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    write(log, range(30, 40), encoding)
    with shipping(log, server.port, **once(log.parent), encoding=encoding) as run:
        run.result()
    assert_conserved(range(40), server.stored_lines())
    prove(server.port, state, log)


@pytest.mark.parametrize("encodings", [("latin-1", "utf-8"), ("cp1252", "utf-16-be"), ("utf-16-le", "latin-1")])
def test_what_is_in_no_checkpoint_is_known_although_the_setting_has_changed(
    log: Path, server: RunningServer, encodings: tuple[str, str]
) -> None:
    before, after = encodings
    state, kept = log.parent / "state", log.parent / "kept"
    for count in (1, 3):
        log.write_bytes("gr\u00fc\u00dfen\r\n".encode(before) * count)
        with shipping(log, server.port, **once(log.parent), encoding=before) as run:
            run.result()
        if count == 1:
            shutil.copytree(state, kept)
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    prove(server.port, state, log)
    with log.open("ab") as file:
        file.write("new\r\n".encode(after))
    with shipping(log, server.port, **once(log.parent), encoding=after) as run:
        assert run.result().problems == ()
    messages = [json.loads(record)["message"] for record in server.stored_lines()]
    assert messages == ["gr\u00fc\u00dfen"] * 3 + ["new"]
    prove(server.port, state, log)


@every_encoding
def test_an_archive_is_shipped_and_a_rotated_file_is_verified_as_one(
    log: Path, server: RunningServer, encoding: str
) -> None:
    archive = log.with_name("old.log.gz")
    archive.write_bytes(gzip.compress(BOMS[encoding] + lines(range(50), encoding)))
    write(log, range(50, 100), encoding, begins=True)
    with shipping([archive, log], server.port, **once(log.parent), encoding=encoding) as run:
        assert run.result().problems == ()
    assert sorted(server.stored_lines()) == sorted(map(numbered_line, range(100)))
    packed = log.with_name("app.log.1.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    prove(server.port, log.parent / "state", archive, packed)


@pytest.fixture
def scene(tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Scene:
    settle_copies_at_once(monkeypatch)
    return Scene(tmp_path, server, monkeypatch)


@both_orders
def test_a_file_that_grows_by_odd_bytes_is_followed(scene: Scene, encoding: str) -> None:
    data = BOMS[encoding] + lines(range(60), encoding)
    scene.log.touch()
    with scene.running() as run:
        for begin in range(0, len(data), 333):
            with scene.log.open("ab") as file:
                file.write(data[begin : begin + 333])
            run.settle()
    scene.conclude(range(60), proven=[scene.log])


@both_orders
def test_a_rotated_file_and_its_successor_are_both_read(scene: Scene, encoding: str) -> None:
    scene.names = [scene.folder / "app.log*"]
    write(scene.log, range(10), encoding, begins=True)
    scene.follow()
    write(scene.log, range(10, 20), encoding)
    scene.log.rename(scene.folder / "app.log.1")
    write(scene.log, range(20, 30), encoding, begins=True)
    scene.conclude(range(30), proven=[scene.log, scene.folder / "app.log.1"])


@both_orders
@pytest.mark.parametrize("is_running", [True, False])
def test_after_a_copytruncate_a_program_writes_no_byte_order_mark(
    scene: Scene, encoding: str, is_running: bool
) -> None:
    """Its text goes on in the same encoding, and the copy is not shipped a second time."""
    scene.names = [scene.folder / "app.log*"]
    write(scene.log, range(20), encoding, begins=True)
    with scene.running() as run:
        run.settle()
        write(scene.log, range(20, 30), encoding)
        if is_running:
            run.settle()
        else:
            run.shipping.stop()
        shutil.copy(scene.log, scene.folder / "app.log.1")
        scene.log.write_bytes(b"")
        write(scene.log, range(30, 50), encoding)
        if is_running:
            run.settle()
    scene.conclude(range(50), proven=[scene.log, scene.folder / "app.log.1"])


def test_a_program_that_goes_on_at_its_old_offset_leaves_a_hole(scene: Scene) -> None:
    write(scene.log, range(20), "utf-16-le", begins=True)
    with scene.running() as run:
        run.settle()
        size = scene.log.stat().st_size
        scene.log.write_bytes(bytes(size) + lines(range(20, 30), "utf-16-le"))
        run.settle()
        write(scene.log, range(30, 40), "utf-16-le")
        run.settle()
    write(scene.log, range(40, 50), "utf-16-le")
    scene.conclude(range(50), proven=[scene.log], unknown=[size])


@both_orders
def test_a_new_client_may_begin_at_the_end(scene: Scene, encoding: str) -> None:
    write(scene.log, range(10), encoding, begins=True)
    last = lines(range(10, 11), encoding)
    with scene.log.open("ab") as file:
        file.write(last[:21])
    scene.settings = {"start_at": "end"}
    with scene.running() as run:
        run.settle()
        with scene.log.open("ab") as file:
            file.write(last[21:])
        write(scene.log, range(11, 20), encoding)
        run.settle()
    (skipped,) = losses(scene.server)
    assert (skipped.start, skipped.end) == (0, 2 + len(lines(range(10), encoding)))
    assert_conserved(range(10, 20), scene.server.stored_lines())


def test_the_format_is_found_in_the_text(log: Path, server: RunningServer) -> None:
    log.write_bytes(("\ufeff" + '{"level": "info", "msg": "\u00e9"}\r\n' * 3).encode("utf-16-le"))
    with shipping(log, server.port, **once(log.parent), format="auto") as run:
        run.result()
    assert json.loads(server.stored_lines()[1])["message"] == "\u00e9"


@both_orders
def test_a_file_that_was_truncated_unread_is_a_loss_in_bytes_of_the_file(scene: Scene, encoding: str) -> None:
    write(scene.log, range(10), encoding, begins=True)
    with scene.running() as run:
        run.settle()
        start = scene.log.stat().st_size
        with run.paused():
            write(scene.log, range(10, 20), encoding)
            run.look()
            end = scene.log.stat().st_size
            scene.log.write_bytes(b"")
            write(scene.log, range(20, 30), encoding, begins=True)
        run.settle()
    (loss,) = losses(scene.server)
    assert (loss.start, loss.end) == (start, end)
    assert_conserved([*range(10), *range(20, 30)], scene.server.stored_lines())
