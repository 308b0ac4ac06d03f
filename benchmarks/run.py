"""The benchmark: `make bench`, or `python3 benchmarks/run.py`. README.md in this folder explains the numbers.

The exit code says whether the measurements are sound (every line stored, once), never whether they are good.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent

sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.accelerator import (  # noqa: E402  (the path comes first)
    NO_ISAL,
    PURE,
    build_accelerator,
    has_accelerator,
    with_isal,
)

# This process computes what must be stored with the Python code, whatever the measured programs use.
os.environ.update(PURE)

from benchmarks.experiments import FULL, QUICK, Experiment, Logs, Sizes, all_experiments  # noqa: E402
from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.page import as_text, write_page  # noqa: E402
from benchmarks.peers.found import PEERS, find_peers  # noqa: E402
from benchmarks.report import Report  # noqa: E402
from benchmarks.schedule import measure  # noqa: E402
from benchmarks.targets import targets  # noqa: E402

# /tmp is often in memory, where `fsync` costs nothing.
_ON_DISK: Final = Path("/var/tmp")

_BEGAN: Final = time.monotonic()


def main() -> int:
    """Run the requested experiments; print the report, and write it as JSON and as a page if requested."""
    options = _options()
    if options.list:
        print("\n".join(experiment.name for experiment in _experiments(options)))
        return 0
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-benchmark-", dir=options.folder) as folder:
            report = _measure(options, Path(folder))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.json:
        content = {**report.as_json(), "targets": [asdict(target) for target in targets(report)]}
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(as_text(report))
    if report.failures:
        return 1
    if options.page and (no_plot := write_page(report, options.page)):
        _say(no_plot)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the client and the server, and other log shippers that are installed."
    )
    parser.add_argument("--quick", action="store_true", help="smaller files, one run: an impression, not a measurement")
    parser.add_argument("--lines", type=_positive, help=f"lines of the largest log [{FULL.lines}; quick {QUICK.lines}]")
    parser.add_argument(
        "--runs", type=_positive, help=f"runs of each case; the median counts [{FULL.runs}; quick {QUICK.runs}]"
    )
    parser.add_argument("--only", metavar="NAMES", help="names or patterns of cases, separated by commas [all but big]")
    parser.add_argument("--list", action="store_true", help="list all cases and exit")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results to this file")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page to this file, with a plot beside it")
    parser.add_argument(
        "--folder", type=Path, help="the folder for all files, on the disk to measure [/var/tmp if it exists]"
    )
    for peer in PEERS:
        parser.add_argument(
            f"--{peer.name}", metavar="PROGRAM", help=f"the binary [{peer.variable}, or found on the PATH]"
        )
    options = parser.parse_args()
    options.folder = options.folder or (_ON_DISK if _ON_DISK.is_dir() else None)
    return options


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else FULL
    runs = options.runs or sizes.runs
    return replace(sizes, lines=options.lines or sizes.lines, runs=runs, special_runs=min(runs, sizes.special_runs))


def _measure(options: argparse.Namespace, folder: Path) -> Report:
    reason = build_accelerator()
    if reason:
        _say(f"the accelerator cannot be built: {reason}")
    experiments = _experiments(options)
    sizes = _sizes(options)
    report = Report(describe_machine(folder), sizes.lines, has_accelerator())
    report.skipped += [
        peer.reason_to_skip
        for peer in PEERS
        if _is_wanted(peer.name, options.only, sizes)
        and peer.name not in {experiment.name for experiment in experiments}
    ]
    if with_isal() is None and _is_wanted("gzip-isal", options.only, sizes):
        report.skipped.append(NO_ISAL)
    logs = Logs(folder, sizes)
    measure(experiments, logs, folder, report, say=_say)
    return report


def _experiments(options: argparse.Namespace) -> Sequence[Experiment]:
    """Return the requested experiments that are possible on this machine."""
    sizes = _sizes(options)
    peers = find_peers({peer: getattr(options, peer.variable.lower()) for peer in PEERS})
    return [each for each in all_experiments(sizes, peers) if _is_wanted(each.name, options.only, sizes)]


def _is_wanted(name: str, only: str | None, sizes: Sizes) -> bool:
    return any(fnmatch(name, pattern) for pattern in only.split(",")) if only else name not in sizes.left_out


def _say(text: str) -> None:
    """Report progress, with the seconds since the start."""
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
