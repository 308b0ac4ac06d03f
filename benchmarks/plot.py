"""The plot of the report: lines per second of every case, on a logarithmic scale. Needs matplotlib."""

from pathlib import Path
from typing import Final

from benchmarks.report import SCALE, Report, Row

MISSING: Final = "skipping the plot, because matplotlib is not installed: pip install 'matplotlib>=3.8'"

_OURS, _OTHERS = "#1f6f8b", "#b8b8b8"
_BAR_INCHES: Final = 0.28


def draw(report: Report, path: Path) -> str | None:
    """Draw the rows of a report as SVG; return the reason if that is impossible."""
    try:
        import matplotlib
    except ImportError:
        return MISSING
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "logferry"  # the same report gives the same bytes
    from matplotlib import pyplot

    rows = sorted(report.rows, key=lambda row: row.lines_per_s)
    figure, axes = pyplot.subplots(figsize=(9, 1 + _BAR_INCHES * len(rows)), layout="constrained")
    colours = [_OURS if row.is_ours else _OTHERS for row in rows]
    bars = axes.barh([row.name for row in rows], [row.lines_per_s for row in rows], color=colours)
    axes.bar_label(bars, [_label(row, report) for row in rows], padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.01)
    axes.set_xlabel("lines a second (median)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return None


def _label(row: Row, report: Report) -> str:
    ratio = report.ratio(row.name)
    return f"{row.lines_per_s:,.0f}" + (f"  ({ratio:.2f} x {SCALE})" if ratio else "")
