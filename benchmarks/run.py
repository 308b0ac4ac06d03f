"""The benchmark, run by hand: `python3 benchmarks/run.py`. README.md, beside this, says what the numbers mean.

The exit code says whether the measurements are sound (every line stored, once), never whether they are good.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent

sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.cases import BIG, CASES, Run, run_case, run_idle  # noqa: E402  (the path comes first)
from benchmarks.data import LogFile, make_log, repeat_log  # noqa: E402
from benchmarks.formatter import measure_formats  # noqa: E402
from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.measure import BenchmarkError  # noqa: E402
from benchmarks.peers import find_peers  # noqa: E402
from benchmarks.report import Report, make_row  # noqa: E402

Runner = Callable[[LogFile, Path], Run]

_PEERS: Final = ("rsyslog", "cat-nc")
_DEFAULT: Final = (*_PEERS, *(case.name for case in CASES), "idle", "formatter")
_NAMES: Final = (*_DEFAULT, BIG.name)

_BIG_BYTES: Final = 5_000_000_000
_IDLE_LINES: Final = 1000
_IDLE_S: Final = 15.0

_QUICK_LINES: Final = 200_000
_QUICK_RUNS: Final = 1
_QUICK_BIG_BYTES: Final = 250_000_000
_QUICK_IDLE_S: Final = 3.0


def main() -> int:
    """Measure what was asked for; print the report, and write it as JSON if asked."""
    options = _options()
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-benchmark-", dir=options.folder) as folder:
            report = _measure(options, Path(folder))
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(report.as_text())
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the client and the server, beside rsyslog and cat | nc.")
    parser.add_argument("--lines", type=_positive, help=f"of the log file [2000000; {_QUICK_LINES} if quick]")
    parser.add_argument("--runs", type=_positive, help=f"of each case, of which the median counts [3; {_QUICK_RUNS}]")
    parser.add_argument("--only", type=_names, default=_DEFAULT, help=f"some of {','.join(_NAMES)} [all but big]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there, too")
    parser.add_argument("--folder", type=Path, help="where the files go, on the disk to measure [the system's]")
    parser.add_argument("--quick", action="store_true", help="a smaller file, one run: a look, not a measurement")
    options = parser.parse_args()
    options.lines = options.lines or (_QUICK_LINES if options.quick else 2_000_000)
    options.runs = options.runs or (_QUICK_RUNS if options.quick else 3)
    return options


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def _names(text: str) -> Sequence[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {','.join(_NAMES)}")
    return names


def _exit_on_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _measure(options: argparse.Namespace, folder: Path) -> Report:
    wanted: Sequence[str] = options.only
    _say(f"making a log file of {options.lines} lines")
    log = make_log(folder / "app.log", lines=options.lines)
    os.sync()
    report = Report(describe_machine(folder), log.lines, log.bytes)
    runners = _runners(wanted, report)
    for name, runs in _interleaved(runners, log, folder, runs=options.runs).items():
        report.rows.append(make_row(name, log, runs))
    if BIG.name in wanted:
        size = _QUICK_BIG_BYTES if options.quick else _BIG_BYTES
        big_log = repeat_log(log, folder / "big.log", size=size)
        report.rows.append(make_row(BIG.name, big_log, [_run_once(BIG.name, _runner_of_big, big_log, folder)]))
    if "idle" in wanted:
        _say("idle")
        quiet_log = make_log(folder / "quiet.log", lines=_IDLE_LINES)
        report.idle = run_idle(quiet_log, folder, seconds=_QUICK_IDLE_S if options.quick else _IDLE_S)
    if "formatter" in wanted:
        _say("formatter")
        report.formats = measure_formats()
    return report


def _runners(wanted: Sequence[str], report: Report) -> Mapping[str, Runner]:
    """Return what is to be run interleaved, peers first; note in `report` which peers are missing."""
    runners: dict[str, Runner] = {}
    if any(name in wanted for name in _PEERS):
        peers, skipped = find_peers()
        report.skipped += [reason for reason in skipped if reason.partition(":")[0] in wanted]
        runners = {peer.name: peer.run for peer in peers if peer.name in wanted}
    for case in CASES:
        if case.name in wanted:
            runners[case.name] = lambda log, folder, case=case: run_case(case, log, folder)  # type: ignore[misc]
    return runners


def _runner_of_big(log: LogFile, folder: Path) -> Run:
    return run_case(BIG, log, folder)


def _interleaved(
    runners: Mapping[str, Runner], log: LogFile, folder: Path, *, runs: int
) -> Mapping[str, Sequence[Run]]:
    """Run everything once, then everything again: what disturbs the machine for a while disturbs all alike."""
    results: dict[str, list[Run]] = {name: [] for name in runners}
    for number in range(1, runs + 1):
        for name, runner in runners.items():
            results[name].append(_run_once(f"{name}, run {number} of {runs}", runner, log, folder))
    return results


def _run_once(title: str, runner: Runner, log: LogFile, folder: Path) -> Run:
    run = runner(log, folder)
    _say(f"{title}: {log.lines / run.seconds:,.0f} lines/s")
    return run


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
