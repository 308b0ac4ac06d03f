"""Frames: what is written can be read, and what is broken or too large is refused before it takes memory."""

import gzip
import random
import struct
import tracemalloc
import zlib

import pytest

from logferry import speedups
from logferry.errors import FrameError
from logferry.protocol import compressor
from logferry.protocol.compressor import (
    GZIP_MAGIC,
    LENGTH_BYTES,
    Inflation,
    encode_frame,
    frame_length,
    gzipped,
    inflate,
)

MIB = 1024 * 1024


@pytest.fixture(params=["zlib", "isal"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let zlib or isal do the work; nobody sees which."""
    name: str = request.param
    if name == "zlib":
        monkeypatch.setattr(speedups, "isal_zlib", lambda: None)
    elif speedups.isal_zlib() is None:
        pytest.skip("isal is not installed: pip install 'logferry[fast]'")
    return name


PAYLOAD = b'{"level": "INFO", "message": "hello"}\n' * 50
LIMIT = 1024 * 1024


def body_of(payload: bytes, level: int = 1) -> bytes:
    return encode_frame(payload, level=level)[LENGTH_BYTES:]


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("payload", [b"", b"\n", PAYLOAD, random.Random(1).randbytes(70_000)])
def test_a_frame_gives_its_payload_back_at_every_level(level: int, payload: bytes) -> None:
    assert inflate(body_of(payload, level), max_inflated_bytes=LIMIT) == payload


def test_a_frame_is_a_big_endian_length_and_so_many_bytes_of_gzip() -> None:
    """Rules M3 and M5."""
    frame = encode_frame(PAYLOAD, level=1)
    assert struct.unpack(">I", frame[:4]) == (len(frame) - 4,)
    assert frame_length(frame) == len(frame) - LENGTH_BYTES
    assert frame[4:6] == GZIP_MAGIC
    assert gzip.decompress(frame[4:]) == PAYLOAD


@pytest.mark.parametrize("level", [1, 2, 3])
def test_what_one_engine_compresses_the_other_inflates(
    engine: str, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = random.Random(1).randbytes(10_000) + PAYLOAD * 100
    body = body_of(payload, level)
    assert gzip.decompress(body) == payload
    with monkeypatch.context() as patch:
        patch.setattr(speedups, "isal_zlib", lambda: None)
        foreign = body_of(payload, level)
    assert inflate(foreign, max_inflated_bytes=LIMIT) == payload
    assert (foreign == body) == (engine == "zlib")


def test_the_same_payload_gives_the_same_frame_at_any_time() -> None:
    frame = encode_frame(PAYLOAD, level=1)
    assert frame[8:12] == bytes(4), "no time stamp in the gzip header"
    assert encode_frame(memoryview(PAYLOAD), level=1) == frame


def test_a_payload_that_does_not_fit_a_legal_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = random.Random(1).randbytes(1000)
    monkeypatch.setattr(compressor, "MAX_LEGAL_FRAME_BYTES", len(body_of(payload)))
    encode_frame(payload, level=1)
    with pytest.raises(FrameError, match="a batch of 1001 bytes does not fit"):
        encode_frame(payload + b"x", level=1)


def test_the_first_byte_of_every_legal_frame_is_zero() -> None:
    """Rule M4."""
    assert struct.pack(">I", compressor.MAX_LEGAL_FRAME_BYTES)[0] == 0
    assert struct.pack(">I", compressor.MAX_LEGAL_FRAME_BYTES + 1)[0] == 1


def test_a_length_of_four_gigabytes_is_read_as_it_is() -> None:
    assert frame_length(b"\xff\xff\xff\xff") == 2**32 - 1


def test_a_payload_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    body = body_of(PAYLOAD)
    assert inflate(body, max_inflated_bytes=len(PAYLOAD)) == PAYLOAD
    with pytest.raises(FrameError, match=f"inflates to more than {len(PAYLOAD) - 1} bytes"):
        inflate(body, max_inflated_bytes=len(PAYLOAD) - 1)


@pytest.mark.parametrize("size", range(len(body_of(b"hello"))))
def test_truncated_gzip_is_refused_wherever_it_ends(size: int) -> None:
    with pytest.raises(FrameError, match="the data ends too early"):
        inflate(body_of(b"hello")[:size], max_inflated_bytes=LIMIT)


@pytest.mark.parametrize("rest", [b"\0", b"\n", b"x" * 100, body_of(PAYLOAD)])
def test_anything_after_the_gzip_member_is_refused(rest: bytes) -> None:
    """Rules M3 and M8."""
    with pytest.raises(FrameError, match="data after the end"):
        inflate(body_of(PAYLOAD) + rest, max_inflated_bytes=LIMIT)


@pytest.mark.parametrize("body", [b"x", b"\x1f\x8bx", b"not gzip at all", zlib.compress(PAYLOAD)])
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError, match="bad gzip"):
        inflate(body, max_inflated_bytes=LIMIT)


@pytest.mark.parametrize("place", [-1, -5])
def test_a_wrong_checksum_or_length_is_refused(place: int) -> None:
    body = bytearray(body_of(PAYLOAD))
    body[place] ^= 1
    with pytest.raises(FrameError, match="bad gzip"):
        inflate(bytes(body), max_inflated_bytes=LIMIT)


def test_a_bomb_is_refused_without_taking_its_memory() -> None:
    bomb = body_of(bytes(200 * 1024 * 1024), level=9)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="inflates to more than"):
            inflate(bomb, max_inflated_bytes=LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT


def test_a_step_takes_few_bytes_that_inflate_to_little_or_nothing() -> None:
    """A block of ten bits that holds nothing takes a microsecond: 64 KiB of them took 80 ms in one step."""
    empty_blocks = int(
        "".join(["0000000010"] * 4000), 2
    )  # read from the last bit: not the last block, fixed codes, end
    body = b"\x1f\x8b\x08" + bytes(7) + empty_blocks.to_bytes(5000, "little") * 20 + (MIB).to_bytes(4, "little")
    inflation = Inflation(body, max_inflated_bytes=MIB)
    work = [inflation.step(MIB) for _ in range(10)]
    assert min(work) >= 256 * 1024  # a whole step


def test_usual_text_costs_what_it_inflates_to() -> None:
    payload = b'{"timestamp":"2024-01-15T08:23:45Z","level":"INFO","message":"request took 12 ms"}\n' * 10_000
    inflation = Inflation(gzipped(payload, level=6), max_inflated_bytes=MIB)
    work = 0
    while not inflation.is_done:
        work += inflation.step(MIB)
    assert work == len(payload)


def test_a_body_inflates_to_no_more_than_its_end_says() -> None:
    body = gzipped(b"x" * MIB, level=6)
    inflation = Inflation(body[:-4] + (1000).to_bytes(4, "little"), max_inflated_bytes=MIB)
    assert inflation.rest_bytes == 1000
    with pytest.raises(FrameError, match="more bytes than its end says"):
        inflation.step(2000)


def test_a_body_that_waits_has_no_inflater_and_one_that_inflates_is_charged_for_it() -> None:
    """1,500 messages of 8 KiB that waited for their turn had 130 MB of them."""
    bodies = [gzipped(b"x" * 1000, level=6)] * 500
    tracemalloc.start()
    try:
        waiting = [Inflation(body, max_inflated_bytes=MIB) for body in bodies]
        assert tracemalloc.get_traced_memory()[0] < 500 * 2048
    finally:
        tracemalloc.stop()
    assert [each._inflater for each in waiting] == [None] * 500
    held = waiting[0].held_bytes
    waiting[0].step(10)
    assert waiting[0].held_bytes > held + 50_000
