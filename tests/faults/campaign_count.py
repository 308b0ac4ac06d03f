"""What a campaign wrote, what is stored, and what happened in between."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path

from logferry.server.storage.disk.content.segment_bytes import any_form, blocks
from logferry.server.storage.disk.files.segment_forms import segment_form
from tests.faults.campaign_files import LINE, Doomed, Writer, payload, rendered

_Line = tuple[str, int]  # its log and its number


@dataclass(slots=True)
class Result:
    """Counts of lines, unless a field's name says otherwise."""

    written: int = 0
    stored: int = 0
    unique: int = 0
    repeated: int = 0  # in one store
    doubled: int = 0  # in two stores
    doubled_known: int = 0  # of these, at the same offsets of the same source
    missing: int = 0
    invented: int = 0
    altered: int = 0
    out_of_order: int = 0
    compressed: int = 0  # segments
    rotations: int = 0
    suppressed: int = 0  # repeats that the server recognised
    recovered: int = 0  # recoveries that moved something aside
    windows_happened: int = 0
    windows_reported: int = 0
    damaged: int = 0  # segments
    healed: int = 0
    certificates_loaded: int = 0  # without a restart
    broken: int = 0  # files with certificates, keys and clients
    broken_counted: int = 0  # by the end that goes on with the old one
    last_certificates_in_force: bool = True
    fresh_lines_flow: bool = False
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether no line was lost, repeated, invented, altered or reordered, and the rest was reported and healed."""
        lines = self.repeated or self.missing or self.invented or self.altered or self.out_of_order
        lines = lines or self.doubled_known != self.doubled
        reported = self.windows_reported == self.windows_happened and self.broken_counted == self.broken
        return not lines and reported and self.healed == self.damaged and self.last_certificates_in_force

    @property
    def counts(self) -> bool:
        """Whether the faults really happened: repeats had to be suppressed, and recoveries had something to do."""
        return self.suppressed > 0 and self.recovered > 0 and self.fresh_lines_flow

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"written {self.written} stored {self.stored} unique {self.unique} repeated {self.repeated} "
            f"in two stores {self.doubled}, at known offsets {self.doubled_known} "
            f"missing {self.missing} invented {self.invented} altered {self.altered} out of order {self.out_of_order}; "
            f"unknown windows reported {self.windows_reported} / happened {self.windows_happened}; "
            f"healed {self.healed} / damaged {self.damaged}; "
            f"certificates loaded {self.certificates_loaded}, last in force {self.last_certificates_in_force}; "
            f"broken files counted {self.broken_counted} / {self.broken}; "
            f"compressed segments {self.compressed}, rotations {self.rotations}, repeats suppressed {self.suppressed}, "
            f"recoveries that moved bytes {self.recovered}, "
            f"fresh lines flow {self.fresh_lines_flow}; faults: {faults}"
        )


def segments(data_dir: Path) -> list[Path]:
    """Return the files of the segments of a store, plain or compressed, oldest first."""
    named = ((path, segment_form(path.name)) for path in (data_dir / "segments").rglob("*.ndjson*"))
    return [path for _, path in sorted(((form[0], path.parent, form[1]), path) for path, form in named if form)]


def content_of(path: Path) -> bytes:
    """Return the lines in the file of a segment, which may be compressed meanwhile."""
    form = segment_form(path.name)
    assert form
    with any_form(path.with_name(str(form[0])), form[1]) as content:
        return b"".join(blocks(content, 0, content.size))


def count_stored(data_dirs: Sequence[Path]) -> Counter[str]:
    """Return how many different lines of each log are stored, in any store."""
    seen: dict[str, set[int]] = {}
    for line in chain.from_iterable(map(_stored, data_dirs)):
        if found := LINE.search(line):
            seen.setdefault(found[1].decode(), set()).add(int(found[2]))
    return Counter({log: len(numbers) for log, numbers in seen.items()})


def take_stock(result: Result, data_dirs: Sequence[Path], writers: Sequence[Writer], doomed: Doomed) -> None:
    """Compare what is stored with what was written, by sets of lines."""
    written = {writer.name: writer.written for writer in writers}
    written[doomed.name] = doomed.written
    stores = [_lines_of(result, data_dir, written) for data_dir in data_dirs]
    seen = sum(stores, Counter[_Line]())
    result.unique = len(seen)
    result.repeated = sum(count - 1 for store in stores for count in store.values())
    result.doubled = sum(map(len, stores)) - len(seen)
    result.doubled_known = result.doubled and _count_known_twice(data_dirs)
    result.written = sum(written.values())
    result.compressed = sum(path.suffix in (".gz", ".zst") for each in data_dirs for path in segments(each))
    result.rotations = sum(writer.files for writer in writers)
    result.missing = sum(_missing(seen, writer.name, range(writer.written)) for writer in writers)
    # Of the log that loses lines on purpose, the last file is the one that must be whole.
    result.missing += _missing(seen, doomed.name, range(doomed.written - doomed.lines_per_file, doomed.written))


def _lines_of(result: Result, data_dir: Path, written: Mapping[str, int]) -> Counter[_Line]:
    """Return the lines of one store; count those that nobody wrote, and those that stand in the wrong place."""
    seen: Counter[_Line] = Counter()
    last_of_file: dict[tuple[str, int], int] = {}
    for line in _stored(data_dir):
        result.stored += 1
        found = LINE.search(line)
        if not found:
            result.invented += 1
            continue
        log, number, file = found[1].decode(), int(found[2]), int(found[3])
        result.altered += rendered(payload(log, number, file)) != line
        result.invented += number >= written.get(log, 0)
        result.out_of_order += last_of_file.get((log, file), -1) >= number
        last_of_file[log, file] = number
        seen[log, number] += 1
    return seen


def _count_known_twice(data_dirs: Sequence[Path]) -> int:
    """Return how many lines several stores have at the same offsets of the same source, as their ledgers say."""
    places = [dict(_places(data_dir)) for data_dir in data_dirs]
    return sum(one[line] == other[line] for one, other in combinations(places, 2) for line in one.keys() & other.keys())


def _places(data_dir: Path) -> Iterator[tuple[_Line, tuple[str, int]]]:
    """Yield each stored line with its source and its offset there."""
    with closing(sqlite3.connect(f"file:{data_dir / 'ledger.sqlite3'}?mode=ro", uri=True)) as ledger:
        extents = ledger.execute(
            "SELECT source, start, path, position, extents.bytes FROM extents JOIN segments ON segments.id = segment"
        ).fetchall()
    for source, offset, path, position, size in extents:
        with any_form(data_dir / "segments" / path) as content:  # compressed, once it is closed
            lines = b"".join(blocks(content, position, size))
        for found in LINE.finditer(lines):
            log, number, file = found[1].decode(), int(found[2]), int(found[3])
            yield (log, number), (source, offset)
            offset += len(payload(log, number, file))


def _missing(seen: Counter[_Line], log: str, numbers: range) -> int:
    return sum((log, number) not in seen for number in numbers)


def _stored(data_dir: Path) -> Iterator[bytes]:
    last = None
    for path in segments(data_dir):
        form = segment_form(path.name)
        if form and (path.parent, form[0]) != last:  # not both files of one that is being compressed
            last = path.parent, form[0]
            yield from content_of(path).splitlines(keepends=True)
