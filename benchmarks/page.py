"""Writes docs/benchmarks.md: the results of one run of the benchmark. README.md explains how they are measured."""

from pathlib import Path
from typing import Final

from benchmarks.plot import draw
from benchmarks.report import Report
from benchmarks.tables import table
from benchmarks.targets import targets

_TOP: Final = """# Benchmarks

Written by `make bench`; do not edit. [benchmarks/README.md](../benchmarks/README.md) explains what is measured and how
the comparison is kept fair. After every run, all stored lines were compared with the file: none was missing, repeated
or altered.
"""


def write_page(report: Report, path: Path) -> str | None:
    """Write the page and the plot beside it; return the reason if there cannot be a plot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = path.with_suffix(".svg")
    no_plot = draw(report, picture)
    image = "" if no_plot else f"![Lines a second of every case]({picture.name})\n"
    parts = [_TOP, f"{describe(report)}\n", image, report.tables() + "\n", target_table(report), notes(report)]
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return no_plot


def as_text(report: Report) -> str:
    """Return the report for a terminal: Markdown without a plot."""
    parts = (describe(report), report.tables(), target_table(report), notes(report))
    return "\n\n".join(part.strip() for part in parts if part.strip())


def describe(report: Report) -> str:
    """Return a line on the machine, the size of the largest log, and the accelerator."""
    accelerator = "with" if report.is_accelerated else "without"
    return f"{report.machine}; the largest log has {report.lines:,} lines; {accelerator} the compiled accelerator."


def target_table(report: Report) -> str:
    """Return the table of the targets."""
    cells = [(t.name, t.wanted, t.measured, "met" if t.met else "MISSED") for t in targets(report)]
    return table(("target", "wanted", "measured", ""), cells) + "\n" if cells else ""


def notes(report: Report) -> str:
    """Return what was skipped or failed, and why."""
    reasons = [
        *(f"skipped: {reason}" for reason in report.skipped),
        *(f"FAILED: {reason}" for reason in report.failures),
    ]
    return "".join(f"- {reason}\n" for reason in reasons)
