"""The names of streams and subjects. Owns them; nothing else puts a subject together.

Lines of a source are messages of one subject, `<prefix>.<shard>.<token>`, in the stream `<PREFIX>_<shard>`. The stream
`<PREFIX>_META` has everything else: `<prefix>.store` (what the store is), `<prefix>.source.<token>` (whose a source
is), `<prefix>.losses.<token>` and `<prefix>.repair.<token>.<start>`. The shard of a source is the CRC-32 of its id
modulo their number, for ever.
"""

import re
import zlib
from typing import Final

# Begins the ids of sources that a gateway makes for what arrives by the plain protocol; no client can send such an id.
PLAIN: Final = "~"

# What a subject may have of an id as it is; everything else becomes `=` and the two hexadecimal digits of each byte.
_OTHER: Final = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED: Final = re.compile(rb"=([0-9A-F]{2})")


class Names:
    """The names of one store."""

    def __init__(self, prefix: str, shards: int) -> None:
        self.prefix: Final = prefix
        self.shards: Final = shards
        self.meta: Final = f"{prefix.upper()}_META"
        self.streams: Final = tuple(f"{prefix.upper()}_{shard}" for shard in range(shards))

    def shard(self, source: str) -> int:
        """Return the shard of a source."""
        return zlib.crc32(source.encode()) % self.shards

    def stream(self, source: str) -> str:
        """Return the stream that has the lines of a source."""
        return self.streams[self.shard(source)]

    def lines(self, source: str) -> str:
        """Return the subject of the lines of a source."""
        return f"{self.prefix}.{self.shard(source)}.{token(source)}"

    def source(self, source: str) -> str:
        """Return the subject that says whose a source is."""
        return f"{self.prefix}.source.{token(source)}"

    def losses(self, source: str) -> str:
        """Return the subject of what a source has lost."""
        return f"{self.prefix}.losses.{token(source)}"

    def repair(self, source: str, start: int) -> str:
        """Return the subject of the lines that replace a damaged extent."""
        return f"{self.prefix}.repair.{token(source)}.{start}"

    @property
    def store(self) -> str:
        """The subject that says what the store is."""
        return f"{self.prefix}.store"

    @property
    def all_sources(self) -> str:
        """The subjects that say whose sources are."""
        return f"{self.prefix}.source.*"

    def subjects_of_meta(self) -> list[str]:
        """Return the subjects of the stream that has no lines."""
        return [self.store, self.all_sources, f"{self.prefix}.losses.*", f"{self.prefix}.repair.*.*"]

    def subjects_of(self, stream: str) -> list[str]:
        """Return the subjects of a stream."""
        return self.subjects_of_meta() if stream == self.meta else [f"{self.prefix}.{self.streams.index(stream)}.*"]


def token(source: str) -> str:
    """Return an id as one token of a subject."""
    return _OTHER.sub(lambda found: b"=%02X" % ord(found[0]), source.encode()).decode()


def source_of(subject: str) -> str:
    """Return the id of the source whose lines a subject has, or that it describes."""
    last = subject.rpartition(".")[2].encode()
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), last).decode(errors="replace")
