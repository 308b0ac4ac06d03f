"""The best that a machine can do with a file: `python3 mover.py sendfile FILE PORT` or `python3 mover.py zlib FILE`.

`sendfile` lets the kernel send the file; `zlib` compresses it at level 1 in one thread and discards the result.
"""

import socket
import sys
import zlib
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 256 * 1024


def send(path: Path, port: int) -> None:
    """Send a file without looking at it."""
    with socket.create_connection(("127.0.0.1", port)) as sock, path.open("rb") as file:
        sock.sendfile(file)


def deflate(path: Path) -> int:
    """Compress a file as gzip; return the compressed size."""
    compressor = zlib.compressobj(1, wbits=31)
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            size += len(compressor.compress(piece))
    return size + len(compressor.flush())


def main() -> None:
    """Run the program; see the docstring of the module."""
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "sendfile":
        send(path, int(sys.argv[3]))
    else:
        print(f"{path.stat().st_size / deflate(path):.2f} times smaller")


if __name__ == "__main__":
    main()
