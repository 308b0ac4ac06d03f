"""What `verify` and `repair` share: they ask a server about files, and print one result per file or source.

Owns the connection, what a server that cannot be asked means, and the exit code. Must never interpret a result.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED, EXIT_OK
from logferry.cli.output import print_problem, print_result
from logferry.cli.pattern_watch import watching_patterns
from logferry.client.finding.foreign_links import follow_foreign_links
from logferry.client.proof.proof_source import ProofSource
from logferry.client.proof.several_reports import asking_all
from logferry.client.run import state_dir
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import RepairSettings, VerifySettings
from logferry.errors import DeliveryError

Settings = TypeVar("Settings", bound=VerifySettings | RepairSettings)
Result = TypeVar("Result")


class Asked(NamedTuple):
    """The servers that can be asked, for the client whose state folder this is."""

    folder: Path
    checkpoints: Checkpoints
    reports: ProofSource


@contextmanager
def asking(settings: VerifySettings | RepairSettings) -> Iterator[Asked]:
    """Connect to all servers as the client whose state folder the settings name; print which do not answer.

    Raises DeliveryError if none answers, or StateError.
    """
    follow_foreign_links(settings.follow_foreign_links)
    folder = state_dir(settings.state_dir)
    checkpoints = Checkpoints(folder, read_only=True)
    with asking_all(settings, checkpoints) as reports:
        for problem in reports.problems:
            print_problem(problem, command="verify" if isinstance(settings, VerifySettings) else "repair")
        yield Asked(folder, checkpoints, reports)


def find_and_print(
    command: str,
    settings: Settings,
    find: Callable[[Settings], Sequence[Result]],
    *,
    as_table: Callable[[Sequence[Result]], str],
    as_json: Callable[[Sequence[Result]], str],
    is_fine: Callable[[Result], bool],
) -> int:
    """Find the results, print them, and return the exit code: whether all of them are fine."""
    try:
        with watching_patterns():
            found = find(settings)
    except DeliveryError as error:
        print_problem(str(error), command=command)
        return EXIT_NOT_DELIVERED
    print_result(as_json(found) if settings.json else as_table(found))
    return EXIT_OK if all(map(is_fine, found)) else EXIT_INCOMPLETE
