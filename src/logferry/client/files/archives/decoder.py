"""The seam between an archive and its compression format: a decoder of one member.

Owns the protocol and its exception. A decoder takes a bounded amount of memory for any input. Must never read a file.
"""

from typing import Final, Protocol

# The most memory that a file may make a decoder take. The largest preset of xz needs 65 MiB; zstd itself refuses
# windows above 128 MiB unless told otherwise.
MAX_DECODER_BYTES: Final = 128 * 1024 * 1024


class DamagedData(Exception):
    """The bytes are not what the format requires."""


class Decoder(Protocol):
    """Decodes one member of an archive."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member was decoded."""

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` returns nothing more without more data."""

    @property
    def unused_data(self) -> bytes:
        """The bytes that were passed and lie behind the end of the member."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take in `data` and return up to `max_length` decoded bytes, or one block if that is larger.

        Raises DamagedData.
        """
