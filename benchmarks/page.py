"""docs/benchmarks.md: what one call of the benchmark has found, for readers. README.md, beside this, says how."""

from pathlib import Path
from typing import Final

from benchmarks.plot import draw
from benchmarks.report import Report
from benchmarks.tables import table
from benchmarks.targets import targets

_TOP: Final = """# Benchmarks

Written by `make bench`; do not edit. [benchmarks/README.md](../benchmarks/README.md) says what is measured, and how
it is fair. After every run all stored lines were compared with the file: none was missing, repeated or altered.
"""


def write_page(report: Report, path: Path) -> str | None:
    """Write the page, with the plot beside it; return why there is no plot, if so."""
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
    """Return what was measured on."""
    accelerator = "with" if report.is_accelerated else "without"
    return f"{report.machine}; the largest log has {report.lines:,} lines; {accelerator} the compiled accelerator."


def target_table(report: Report) -> str:
    """Return what was to be reached."""
    cells = [(t.name, t.wanted, t.measured, "met" if t.met else "MISSED") for t in targets(report)]
    return table(("target", "wanted", "measured", ""), cells) + "\n" if cells else ""


def notes(report: Report) -> str:
    """Return what was not measured, and why."""
    reasons = [
        *(f"skipped: {reason}" for reason in report.skipped),
        *(f"FAILED: {reason}" for reason in report.failures),
    ]
    return "".join(f"- {reason}\n" for reason in reasons)
