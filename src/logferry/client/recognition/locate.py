"""Finds the file of a checkpoint now: under its name, under another name in its folder, as a copy or an archive.

The content decides. Must never change a checkpoint, and never keeps a file open that is not the one.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from logferry.client.files.archives.archive import open_content
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.recognition.recognise import has_content
from logferry.client.state.checkpoint import Checkpoint
from logferry.errors import SourceError
from logferry.model.render_spec import PLAIN


def open_file_of(checkpoint: Checkpoint, folders: FolderListings) -> SourceFile | None:
    """Open the file that has the content of a checkpoint; None if there is none. The caller closes the file."""
    for path in dict.fromkeys(_candidates(checkpoint, folders)):
        try:
            file = SourceFile(path, max_line_bytes=PLAIN.max_line_bytes, content=open_content(path))
        except (OSError, SourceError):
            continue
        try:
            if has_content(file, checkpoint):
                return file
        except (OSError, SourceError):
            pass
        file.close()
    return None


def _candidates(checkpoint: Checkpoint, folders: FolderListings) -> Iterator[Path]:
    """Yield where the file may be, the likeliest places first."""
    path = Path(checkpoint.path)
    yield path
    for place in dict.fromkeys((path, Path(os.path.realpath(path)))):
        listing = folders.listing(str(place.parent))
        name = listing.by_inode.get(checkpoint.inode)
        if name is not None:
            yield place.parent / name
        yield from (place.parent / other for other in listing.rotated_or_archived(place.name))
