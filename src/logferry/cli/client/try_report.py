"""The report of `logferry try`: the first records, a table of what became of the lines, and why. Never prints."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any, Final

from logferry.cli.output import as_json, shown_text, table
from logferry.client.readers.trial import Trial
from logferry.rendering.detect import FALLBACK, SAMPLE_LINES

# How many records are shown; they are the first ones.
_SHOWN_RECORDS: Final = 10

# How many times the width of a line is shown of one record, and as much of its fields.
_MOST_LINES: Final = 4

# The narrowest terminal for which lines are laid out, and the width of a report that goes elsewhere.
_MIN_COLUMNS: Final = 40
_REPORT_COLUMNS: Final = 80

# These stand in columns of their own.
_LEVEL_CHARS: Final = 9
_COMMON: Final = ("level", "message", "timestamp")


def trial_as_json(name: str, trial: Trial) -> str:
    """Return an object, with the first records as they would be stored."""
    shapes, count = trial.shapes()
    return as_json(
        {
            "file": name,
            "lines": trial.lines,
            "whole": trial.is_all,
            "blank": trial.blank,
            "joined": trial.joined,
            "filtered": trial.filtered,
            "redacted": trial.redacted,
            "events": trial.events,
            "recognised": trial.recognised,
            "stored": len(trial.records),
            "with_level": trial.with_level,
            "with_timestamp": trial.with_timestamp,
            "unknown": len(trial.unknown),
            "unknown_shapes": count,
            "shapes": list(map(asdict, shapes)),
            "formats": trial.formats,
            "auto": {
                "format": trial.auto.format or FALLBACK,
                "fits": trial.auto.format is not None,
                "sample": trial.auto.sample,
                "sample_counts": trial.auto.fits,
                "counts": trial.auto.fits_all,
                "later": trial.auto.later,
                "later_from": trial.auto.later_from,
            },
            "records": [record.decode() for record in trial.records[:_SHOWN_RECORDS]],
        }
    )


def trial_as_text(name: str, trial: Trial, *, columns: int | None) -> str:
    """Return the report; `columns` is the width of the terminal, None if the report goes elsewhere."""
    width = max(_MIN_COLUMNS, columns or _REPORT_COLUMNS)
    records = [line for record in trial.records[:_SHOWN_RECORDS] for line in _record(record, width)]
    lines = [*records, "", *_counts(name, trial), *_shapes(trial, width), *_auto(trial)]
    return "\n".join(lines if records else lines[1:])


def _record(record: bytes, width: int) -> list[str]:
    """Return a record as lines: level, timestamp and message, then its other fields."""
    try:
        values = json.loads(record, parse_int=str, parse_float=str)
    except RecursionError:
        values = {"message": record.decode()}
    level, message, timestamp = (_text(values.get(key)) for key in _COMMON)
    head = "  ".join([level.ljust(_LEVEL_CHARS), *([timestamp] if timestamp else []), message])
    others = "  ".join(f"{key}={_text(value)}" for key, value in values.items() if key not in _COMMON)
    indent = " " * (_LEVEL_CHARS + 2)
    return [*_wrapped(head, width, "", indent), *_wrapped(others, width, indent, indent)]


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """Return a text in lines of at most `width` characters, and only its beginning if it is very long."""
    safe = shown_text(text, _MOST_LINES * width)
    return wrap(safe, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _counts(name: str, trial: Trial) -> Iterator[str]:
    yield shown_text(f"{name}: {'all' if trial.is_all else 'the first'} {trial.lines} lines", _REPORT_COLUMNS)
    yield ""
    stored = len(trial.records)
    rows = [
        ("lines", trial.lines, 0),
        ("  blank", trial.blank, 0),
        ("  joined to the event before", trial.joined, 0),
        ("  left out by a filter", trial.filtered, 0),
        ("recognised", trial.recognised, trial.events),
        ("with a level", trial.with_level, stored),
        ("with a timestamp", trial.with_timestamp, stored),
        ("UNKNOWN", len(trial.unknown), stored),
    ]
    for what, count, of in rows:
        if count or not what.startswith(" "):
            yield f"{what:<28}{count:>9}{_share(count, of)}".rstrip()


def _share(count: int, of: int) -> str:
    return f"  {100 * count / of:5.1f} %" if of else ""


def _shapes(trial: Trial, width: int) -> Iterator[str]:
    shapes, count = trial.shapes()
    if not shapes:
        return
    yield ""
    yield f"UNKNOWN by shape{f', the most frequent {len(shapes)} of {count}' if count > len(shapes) else ''}:"
    for shape in shapes:
        yield shown_text(f"{shape.count:>9}  {shape.shape}", width)
        yield shown_text(f"{'':>9}  {shape.example}", width)


def _auto(trial: Trial) -> Iterator[str]:
    auto = trial.auto
    yield ""
    if not auto.fits_all and not auto.sample:
        yield "--format auto would choose nothing: there are no lines to decide by"
        return
    why = f"the first {SAMPLE_LINES} lines" if auto.sample == SAMPLE_LINES else f"{auto.sample} of the first lines"
    if auto.format is None:
        yield f"--format auto would choose {FALLBACK}: no format fits half of {why}"
    else:
        yield f"--format auto would choose {auto.format}, by {why}"
    if auto.later:
        yield f"and {auto.later} from byte {auto.later_from} on, by the lines after those"
    if trial.formats and trial.formats != [auto.format or FALLBACK] and not auto.later:
        yield f"(read as {', '.join(trial.formats)})" if len(trial.formats) < 3 else "(read in several formats)"
    yield ""
    yield from table(_candidates(auto.sample, auto.fits, auto.fits_all))


def _candidates(sample: int, fits: dict[str, int], fits_all: dict[str, int]) -> Sequence[Sequence[str]]:
    rows = [(name, str(fits.get(name, 0)), str(count)) for name, count in fits_all.items()]
    return [("format", f"of {sample}", "of all"), *sorted(rows, key=lambda row: (-int(row[1]), -int(row[2])))]
