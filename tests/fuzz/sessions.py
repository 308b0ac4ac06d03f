"""Valid sessions of all protocols that a server takes, to be mutated."""

import gzip
from random import Random

from logferry.protocol.compressor import encode_frame
from logferry.protocol.messages.writing import control_line
from tests.support.delivery import LINES, batch, hello, opening


def session(random: Random) -> bytes:
    """Return the bytes of a whole session of one client."""
    return random.choice([_plain, _frames, _delivery, _delivery, _delivery, _questions, _stranger])(random)


def _some_lines(random: Random) -> list[bytes]:
    start = random.randrange(len(LINES) - 40)
    return LINES[start : start + random.choice([1, 2, 10, 40])]


def _plain(random: Random) -> bytes:
    return b"".join(_some_lines(random))


def _frames(random: Random) -> bytes:
    return b"".join(encode_frame(b"".join(_some_lines(random)), level=1) for _ in range(random.randrange(1, 3)))


def _delivery(random: Random) -> bytes:
    """A source of this seed's own, with batches, a skip, a note and a window."""
    source, position = f"f{random.randrange(50)}", 0
    parts = [hello(client=f"fuzz{random.randrange(5)}", features=["heal"]), opening(source, f"/var/log/{source}.log")]
    for _ in range(random.randrange(1, 5)):
        lines = _some_lines(random)
        parts.append(batch(lines, start=position, source=source, is_gzip=random.random() < 0.4))
        position += sum(map(len, lines))
    span = {"source": source, "start": position, "end": position + 100}
    extra = [
        control_line("skip", **span, reason="gone", lost=True),
        control_line("note", **span, reason="cut"),
        control_line("window", source=source, start=position, last_look=1, noticed=2, reason="copied"),
        control_line("ping"),
    ]
    return b"".join([*parts, *random.sample(extra, random.randrange(len(extra) + 1))])


def _questions(random: Random) -> bytes:
    """Everything that a client may ask, of a source that others may have created."""
    source = f"f{random.randrange(50)}"
    payload = b"".join(_some_lines(random))
    body = gzip.compress(payload, 1)
    repair = {"source": source, "start": 0, "end": len(payload), "lines": payload.count(b"\n")}
    asked = [
        control_line("report", source=source, after=0),
        control_line("sources", host="web-1", path=f"/var/log/{source}.log", after=""),
        control_line("positions", sources=[source, "f1"]),
        control_line("content", source=source, start=0, position=0, bytes=1000),
        control_line("damaged", source=source, after=0),
        control_line("repair", **repair, bytes=len(body), encoding="gzip", crc32=1) + body,
    ]
    return hello(client=f"fuzz{random.randrange(5)}") + b"".join(random.choices(asked, k=random.randrange(1, 12)))


def _stranger(random: Random) -> bytes:
    return random.choice(
        [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(200),
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + b"".join(_some_lines(random)),
            random.randbytes(random.randrange(400)),
        ]
    )
