"""How `logferry stats` is shown: rows with bars on a terminal, plain rows on a pipe, and JSON.

Owns the layout. Only values come in: counts, the width of the terminal and whether it has blocks to draw with.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from logferry.cli.output import shown, shown_text
from logferry.reading.counting.statistics import By, Row, RowKey, Statistics

_BAR_COLUMNS: Final = 24
_LEAST_BAR_COLUMNS: Final = 6
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"

# Rows of time between two that have lines are shown up to this many.
_MOST_EMPTY: Final = 5
_STEPS: Final = {By.MINUTE: 60_000, By.HOUR: 3_600_000}

_NAME_COLUMNS: Final = 60
_PATTERN_COLUMNS: Final = 100

# Details that stand beside a bar.
_HOSTS: Final = 2
_PATTERNS: Final = 1


@dataclass(frozen=True, slots=True)
class Screen:
    """What the rows are shown on; `columns` is None for a pipe."""

    columns: int | None
    has_blocks: bool = True


def statistics_as_text(statistics: Statistics, screen: Screen, *, most: int | None) -> str:
    """Return a row for each count, and a note of what is not shown or not exact."""
    rows = _shown_rows(statistics, most)
    lines = list(_lines(statistics.by, rows, screen))
    if left := len(statistics.rows) - len(rows):
        which = "earlier" if statistics.by.is_time else "rarer"
        lines.append(f"({left} {which} rows are not shown: -n 0 shows all)")
    if statistics.missed:
        lines.append(f"(there are too many rows to count all: a count may be too low by up to {statistics.missed})")
    return "\n".join(lines)


def _shown_rows(statistics: Statistics, most: int | None) -> Sequence[Row]:
    """Return the last rows if they are times, and else the first ones, which have most lines."""
    if most is None:
        return statistics.rows
    return statistics.rows[-most:] if statistics.by.is_time else statistics.rows[:most]


def _lines(by: By, rows: Sequence[Row], screen: Screen) -> Iterator[str]:
    if not rows:
        return
    labels = _labels(by, rows, is_terminal=screen.columns is not None)
    width = max(len(label) for label in labels)
    digits = max(len(f"{row.count:,}") for row in rows)
    if screen.columns is None:
        for label, row in zip(labels, rows, strict=True):
            yield "  ".join([label.ljust(width), str(row.count), *_details(by, row, _PATTERN_COLUMNS)])
        return
    most = max(row.count for row in rows)
    bar_columns = max(_LEAST_BAR_COLUMNS, min(_BAR_COLUMNS, screen.columns - width - digits - 30))
    before: RowKey | None = None
    for label, row in zip(labels, rows, strict=True):
        yield from _gap(by, before, row.key, width)
        before = row.key
        bar = _bar(row.count, most, bar_columns, has_blocks=screen.has_blocks)
        line = f"{label.ljust(width)}  {bar} {row.count:>{digits},}"
        room = screen.columns - len(line) - 2
        details = "  ".join(_details(by, row, max(room // 2, 20)))
        yield f"{line}  {details[: max(room, 0)]}".rstrip()


def _bar(count: int, most: int, columns: int, *, has_blocks: bool) -> str:
    if not has_blocks:
        return ("#" * max(1, round(count * columns / most))).ljust(columns)
    eighths = max(1, round(count * columns * 8 / most))
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()).ljust(columns)


def _gap(by: By, before: RowKey | None, after: RowKey, width: int) -> Iterator[str]:
    """Yield what stands for spans of time without a line."""
    step = _STEPS.get(by)
    if step is None or not isinstance(before, int) or not isinstance(after, int):
        return
    missing = (after - before) // step - 1
    if 0 < missing <= _MOST_EMPTY:
        for moment in range(before + step, after, step):
            yield f"{local_time(moment):%H:%M}".rjust(width)
    elif missing > 0:
        yield f"{'...'.rjust(width)}  nothing for {_duration(missing * step)}"


def _duration(milliseconds: int) -> str:
    minutes = milliseconds // 60_000
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts[:2])


def _details(by: By, row: Row, columns: int) -> Iterator[str]:
    """Yield which hosts and patterns have most lines of a row."""
    if by is not By.HOST and by is not By.FILE and len(row.hosts) > 1:
        yield ", ".join(f"{shown_text(host, _NAME_COLUMNS)} {count:,}" for host, count in row.hosts[:_HOSTS])
    elif by.is_time and row.patterns and row.hosts:
        yield shown_text(row.hosts[0][0], _NAME_COLUMNS)
    for pattern, count in row.patterns[:_PATTERNS]:
        yield f'"{shown_text(pattern, columns)}" {count:,}'


def _labels(by: By, rows: Sequence[Row], *, is_terminal: bool) -> list[str]:
    if not by.is_time:
        return [_name(by, row.key) for row in rows]
    moments = [local_time(row.key) for row in rows if isinstance(row.key, int)]
    if not is_terminal:
        return [moment.isoformat(timespec="minutes") for moment in moments]
    days = {moment.date() for moment in moments}
    return [f"{moment:%H:%M}" if len(days) == 1 else f"{moment:%Y-%m-%d %H:%M}" for moment in moments]


def _name(by: By, key: RowKey) -> str:
    if isinstance(key, tuple):
        return shown(f"{key[0]}:{key[1] or '(plain protocol)'}")
    if by is By.PATTERN:
        return shown_text(str(key), _PATTERN_COLUMNS) or "(not a message)"
    return shown_text(str(key), _NAME_COLUMNS) or ("(no level)" if by is By.LEVEL else "(no name)")


def statistics_as_json(statistics: Statistics, *, most: int | None) -> str:
    """Return an object with the rows; times are in UTC."""
    rows = _shown_rows(statistics, most)
    numbers = {
        "by": statistics.by.value,
        "lines": statistics.lines,
        "rows_left_out": len(statistics.rows) - len(rows),
        "may_be_too_low_by": statistics.missed,
    }
    lines = ",\n".join(f"  {json.dumps(_row_as_json(row))}" for row in rows)
    first = ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in numbers.items())
    return f'{{{first}, "rows": [\n{lines}\n]}}'.replace("\x7f", "\\u007f")


def _row_as_json(row: Row) -> dict[str, Any]:
    host, key = row.key if isinstance(row.key, tuple) else ("", row.key)
    return {
        "key": _utc(key) if isinstance(key, int) else key,
        "host": host,
        "count": row.count,
        "hosts": [{"host": host, "count": count} for host, count in row.hosts],
        "levels": dict(row.levels),
        "patterns": [{"pattern": pattern, "count": count} for pattern, count in row.patterns],
    }


def _utc(moment: int) -> str:
    return utc_time(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_time(moment: int) -> datetime:
    """Return a time in milliseconds as one of the calendar; one that it does not have becomes its last."""
    try:
        return datetime.fromtimestamp(moment / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def local_time(moment: int) -> datetime:
    """Do the same, in the zone of this place."""
    try:
        return utc_time(moment).astimezone()
    except (OverflowError, OSError, ValueError):
        return utc_time(moment)
