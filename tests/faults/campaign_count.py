"""What a campaign wrote, what is stored, and what happened in between."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.campaign_files import LINE, Doomed, Writer, payload, rendered


@dataclass(slots=True)
class Result:
    """Counts of lines, unless a field's name says otherwise."""

    written: int = 0
    stored: int = 0
    unique: int = 0
    repeated: int = 0
    missing: int = 0
    invented: int = 0
    altered: int = 0
    out_of_order: int = 0
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
            f"missing {self.missing} invented {self.invented} altered {self.altered} out of order {self.out_of_order}; "
            f"unknown windows reported {self.windows_reported} / happened {self.windows_happened}; "
            f"healed {self.healed} / damaged {self.damaged}; "
            f"certificates loaded {self.certificates_loaded}, last in force {self.last_certificates_in_force}; "
            f"broken files counted {self.broken_counted} / {self.broken}; "
            f"rotations {self.rotations}, repeats suppressed {self.suppressed}, "
            f"recoveries that moved bytes {self.recovered}, "
            f"fresh lines flow {self.fresh_lines_flow}; faults: {faults}"
        )


def segments(data_dir: Path) -> list[Path]:
    """Return the segments of a store, oldest first."""

    def age(path: Path) -> tuple[str, int]:
        day, _, number = path.stem.rpartition("-")
        return day, int(number)

    return sorted((data_dir / "segments").rglob("*.ndjson"), key=age)


def count_stored(data_dir: Path) -> Counter[str]:
    """Return how many different lines of each log are stored."""
    seen: dict[str, set[int]] = {}
    for line in _stored(data_dir):
        if found := LINE.search(line):
            seen.setdefault(found[1].decode(), set()).add(int(found[2]))
    return Counter({log: len(numbers) for log, numbers in seen.items()})


def take_stock(result: Result, data_dir: Path, writers: Sequence[Writer], doomed: Doomed) -> None:
    """Compare what is stored with what was written, by sets of lines."""
    written = {writer.name: writer.written for writer in writers}
    written[doomed.name] = doomed.written
    seen: Counter[tuple[str, int]] = Counter()
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
    result.unique = len(seen)
    result.repeated = sum(count - 1 for count in seen.values())
    result.written = sum(written.values())
    result.rotations = sum(writer.files for writer in writers)
    result.missing = sum(_missing(seen, writer.name, range(writer.written)) for writer in writers)
    # Of the log that loses lines on purpose, the last file is the one that must be whole.
    result.missing += _missing(seen, doomed.name, range(doomed.written - doomed.lines_per_file, doomed.written))


def _missing(seen: Counter[tuple[str, int]], log: str, numbers: range) -> int:
    return sum((log, number) not in seen for number in numbers)


def _stored(data_dir: Path) -> Iterator[bytes]:
    for path in segments(data_dir):
        yield from path.read_bytes().splitlines(keepends=True)
