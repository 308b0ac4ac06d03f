"""The order of the measurements: every experiment once, then every one again, each time in another order.

A temporary disturbance of the machine then affects all experiments alike. So do the effects of earlier runs: after a
minute with few writes, a virtual machine has returned its free memory to the host and must first get it back.
"""

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.cases import Run
from benchmarks.experiments import Experiment, Logs, Result
from benchmarks.measure import BenchmarkError, CannotMeasureError
from benchmarks.report import Report


def measure(
    experiments: Sequence[Experiment], logs: Logs, folder: Path, report: Report, *, say: Callable[[str], None]
) -> None:
    """Run each experiment as often as it requires; add results to the report, and pass progress messages to `say`.

    An experiment that cannot run or has failed is not repeated: the report has the reason, and no numbers.
    """
    say("creating the files to ship")
    _prepare(experiments, logs)
    results: dict[str, list[Result]] = {experiment.name: [] for experiment in experiments}
    left = list(experiments)
    for number in range(1, max((experiment.runs for experiment in experiments), default=0) + 1):
        for experiment in _order([each for each in left if each.runs >= number], number):
            result = _attempt(experiment, logs, folder, report, say)
            if result is None:
                left.remove(experiment)
                continue
            results[experiment.name].append(result)
            speed = f": {logs[experiment.log].lines / result.seconds:,.0f} lines/s" if isinstance(result, Run) else ""
            say(f"{experiment.name}, run {number} of {experiment.runs}{speed}")
    for experiment in left:
        report.add(experiment, logs[experiment.log] if experiment.log else None, results[experiment.name])


def _order(experiments: Sequence[Experiment], number: int) -> Sequence[Experiment]:
    """Return the order of a round: the given order first, then shuffled orders that are the same every time."""
    return experiments if number == 1 else random.Random(number).sample(experiments, len(experiments))


def _prepare(experiments: Sequence[Experiment], logs: Logs) -> None:
    """Create all files beforehand: during a measurement, only the measured programs write."""
    for experiment in experiments:
        if experiment.log:
            _ = logs[experiment.log]
        experiment.prepare(logs)
    os.sync()


def _attempt(
    experiment: Experiment, logs: Logs, folder: Path, report: Report, say: Callable[[str], None]
) -> Result | None:
    """Measure once; if that fails, add the reason to the report."""
    try:
        return experiment.measure(logs, folder)
    except CannotMeasureError as error:
        report.skipped.append(f"{experiment.name}: {error}")
        say(f"{experiment.name} is skipped: {error}")
    except BenchmarkError as error:
        report.failures.append(f"{experiment.name}: {error}")
        say(f"{experiment.name} has FAILED: {error}")
    return None
