"""The order in which things are measured: everything once, then everything again, in another order each time.

What disturbs the machine for a while disturbs all alike; and so does what was done before: after a minute without much
writing a virtual machine has given its free memory back, which it must first get again.
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
    """Do each experiment as often as it wants; what comes of it goes into the report, and news to `say`.

    What cannot be measured, or has failed, is not tried again: the report says why, and has no numbers of it.
    """
    say("making the files that are shipped")
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
    """Return the order of a round: the given one, then others, which are the same every time."""
    return experiments if number == 1 else random.Random(number).sample(experiments, len(experiments))


def _prepare(experiments: Sequence[Experiment], logs: Logs) -> None:
    """Make all files beforehand: nothing is written while something is measured, but by what is measured."""
    for experiment in experiments:
        if experiment.log:
            _ = logs[experiment.log]
        experiment.prepare(logs)
    os.sync()


def _attempt(
    experiment: Experiment, logs: Logs, folder: Path, report: Report, say: Callable[[str], None]
) -> Result | None:
    """Measure once; note in the report why that did not work."""
    try:
        return experiment.measure(logs, folder)
    except CannotMeasureError as error:
        report.skipped.append(f"{experiment.name}: {error}")
        say(f"{experiment.name} is skipped: {error}")
    except BenchmarkError as error:
        report.failures.append(f"{experiment.name}: {error}")
        say(f"{experiment.name} has FAILED: {error}")
    return None
