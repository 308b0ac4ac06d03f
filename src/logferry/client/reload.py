"""Applies a changed configuration while the client runs.

A signal handler requests the reload; a worker thread reads the file, so that neither the handler nor the engine has to.
The inputs and the log level change; changes of other settings are logged as needing a restart. A configuration with a
problem changes nothing and must never end the client.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from logferry.client.finding.fifos import is_fifo
from logferry.client.finding.preview import not_log_files
from logferry.client.net.waiting.wakeup import Wakeup
from logferry.config import STANDARD_INPUT, InputSettings, ShipSettings
from logferry.errors import ConfigError
from logferry.worker import Worker

logger = logging.getLogger(__name__)

_CHANGEABLE: Final = ("inputs", "log_level")


class Reloads:
    """Requests to reload the configuration of a running client, and the worker that handles them.

    Any thread and any signal handler may request; only the worker's thread changes the settings.
    """

    def __init__(self, settings: ShipSettings, load_again: Callable[[], ShipSettings]) -> None:
        """`load_again` loads the configuration once more; it may raise ConfigError."""
        self._settings = settings
        self._load_again = load_again
        self._requested = Wakeup()

    def request(self) -> None:
        """Request a reload. Safe in a signal handler, at any time."""
        self._requested.set()

    @contextmanager
    def delivering_to(self, reconfigure: Callable[[Sequence[InputSettings]], None]) -> Iterator[None]:
        """Handle requests, even earlier ones, inside a `with`; the worker's thread calls `reconfigure`."""
        worker = Worker(lambda worker: self._run(worker, reconfigure), name="reload", on_stop=self._requested.set)
        worker.start()
        try:
            yield
        finally:
            worker.stop()
            self._requested.close()

    def _run(self, worker: Worker, reconfigure: Callable[[Sequence[InputSettings]], None]) -> None:
        while True:
            self._requested.wait()
            if worker.is_stopping:
                return
            try:
                self._reload(reconfigure)
            except ConfigError as error:
                for problem in error.problems:
                    logger.error("the old configuration stays in force: %s", problem)
            except Exception:  # the top of a thread: the client continues with its old settings
                logger.exception("the old configuration stays in force")

    def _reload(self, reconfigure: Callable[[Sequence[InputSettings]], None]) -> None:
        old = self._settings
        if old.config is None:
            if old.tls:
                logger.info("loading the files of TLS again, and looking for new log files")
            else:
                logger.info("nothing to reload: there is no configuration file (--config); looking for new log files")
        else:
            new = self._load_again()
            if problems := [*not_log_files(new.inputs), *_needing_restart(new.inputs)]:
                raise ConfigError([f"{old.config}: {problem}" for problem in problems])
            changes = {name: getattr(new, name) for name in _CHANGEABLE}
            changes["inputs"] = tuple(dataclasses.replace(own, host=old.host) for own in new.inputs)
            self._settings = dataclasses.replace(old, **changes)
            _log_changes(self._settings, new)
            logging.getLogger().setLevel(new.log_level.upper())
        reconfigure(self._settings.inputs)


def _needing_restart(inputs: Sequence[InputSettings]) -> list[str]:
    """Return why a client that follows files cannot switch to these inputs."""
    if any(is_fifo(name) for settings in inputs for name in settings.log_file):
        return ["log_file: to read a FIFO a restart is needed"]
    if any(STANDARD_INPUT in settings.log_file for settings in inputs):
        return ["log_file: to read standard input (-) a restart is needed"]
    return []


def _log_changes(settings: ShipSettings, wanted: ShipSettings) -> None:
    logger.info("reloaded %s; inputs: %d", settings.config, len(settings.inputs))
    names = [field.name for field in dataclasses.fields(ShipSettings)]
    fixed = [name for name in names if name not in _CHANGEABLE]
    waiting = [name for name in fixed if getattr(settings, name) != getattr(wanted, name)]
    if waiting:
        logger.warning("%s: a restart is needed for the new %s", settings.config, ", ".join(waiting))
