"""The last line that a client prints. Scripts read it, so its words must not change."""

from logferry.telemetry.metrics import Interval
from logferry.telemetry.table import CLIENT_COUNTERS, phrases


def summary(total: Interval) -> str:
    """Return the summary of a run; filtered and redacted lines and those stored before appear only if there are any."""
    counters, seconds = total.counters, total.seconds
    lines_per_second = counters.lines_acked / max(seconds, 1e-9)
    parts = [
        f"logferry: {counters.lines_acked} lines acked",
        f"{counters.bytes_read} bytes read in {seconds:.2f} s ({lines_per_second:.0f} lines/s)",
        f"{counters.lines_rejected} rejected",
        f"{counters.lines_retried} retried",
        f"{counters.lines_blank} blank skipped",
        *phrases(CLIENT_COUNTERS, counters, "summary"),
    ]
    if before := counters.lines_stored_before:
        parts.append(f"{counters.lines_acked} new lines; {before} were stored before (--again ships them again)")
    return ", ".join(parts)
