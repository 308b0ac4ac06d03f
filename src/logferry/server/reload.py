"""Applies a changed configuration while the server runs.

A request (SIGHUP) loads the configuration again; what can change at once does, and the log names what needs a restart.
A configuration with a problem changes nothing. A reload must never end the server or a connection, and a storm of
requests must not fill the log.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Final

from logferry.config import ServeSettings
from logferry.errors import ConfigError
from logferry.printable import printable
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

CHANGEABLE: Final = frozenset(
    (
        *("metrics_interval", "accept", "proxy_protocol", "max_connections", "max_record_bytes", "max_frame_bytes"),
        *("max_inflated_bytes", "memory_limit_bytes", "idle_timeout", "segment_bytes", "segment_compression"),
        *("retention_bytes", "retention_days", "shutdown_timeout", "log_level"),
    )
)


# Of messages: an operator, or a program that rotates certificates, does not request more than one reload a second. Each
# leads to one or two, and to one for each problem.
_MESSAGES_PER_SECOND: Final = 10


class Reloads:
    """Requests to reload the configuration of a running server. Everything but `request` runs in the event loop."""

    def __init__(self, settings: ServeSettings, load_again: Callable[[], ServeSettings]) -> None:
        """`load_again` loads the configuration once more; it may raise ConfigError."""
        self._settings = settings
        self._load_again = load_again
        self._requested = asyncio.Event()
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="messages about reloads")

    def request(self) -> None:
        """Request a reload."""
        self._requested.set()

    async def run(
        self, reconfigure: Callable[[ServeSettings], None], load_files: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """Handle requests, even earlier ones, until cancelled. `load_files` is called for each of them.

        It loads what the settings name: the files of TLS and of the clients; and returns what that is.
        """
        try:
            while True:
                await self._requested.wait()
                self._requested.clear()
                files = load_files()
                if files:
                    self._log.log(logging.INFO, "loading %s again", " and ".join(files))
                await self.reload(reconfigure, has_files=bool(files))
        finally:
            self._log.flush()

    async def reload(self, reconfigure: Callable[[ServeSettings], None], *, has_files: bool = False) -> None:
        """Load the configuration again, and call `reconfigure` with the settings that now hold."""
        if self._settings.config is None:
            if not has_files:
                self._log.log(logging.INFO, "nothing to reload: there is no configuration file (--config)")
            return
        try:
            await self._reload(reconfigure)
        except ConfigError as error:
            for problem in error.problems:
                self._log.log(logging.ERROR, "the old configuration stays in force: %s", printable(problem))
        except Exception:  # the top of a task: the server continues with its old settings
            if self._log.admits(logging.ERROR):
                logger.exception("the old configuration stays in force")

    async def _reload(self, reconfigure: Callable[[ServeSettings], None]) -> None:
        old = self._settings
        wanted = await asyncio.to_thread(self._load_again)
        changed = [name for name in _names() if getattr(old, name) != getattr(wanted, name)]
        at_once = [name for name in changed if name in CHANGEABLE]
        new = dataclasses.replace(old, **{name: getattr(wanted, name) for name in at_once})
        reconfigure(new)
        self._settings = new
        logging.getLogger().setLevel(new.log_level.upper())
        path = printable(str(old.config))
        self._log.log(logging.INFO, "reloaded %s; changed: %s", path, ", ".join(at_once) or "nothing")
        waiting = [name for name in changed if name not in CHANGEABLE]
        if waiting:
            self._log.log(logging.WARNING, "%s: a restart is needed for the new %s", path, ", ".join(waiting))


def _names() -> list[str]:
    return [field.name for field in dataclasses.fields(ServeSettings)]
