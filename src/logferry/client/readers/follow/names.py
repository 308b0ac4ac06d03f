"""Finds the names to follow by the patterns of the inputs, again whenever a folder has changed.

Owns the inputs, and which names are in the registry. Must never open a file.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Final

from logferry.client.finding.links import place_of
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.patterns import Discovery, is_pattern
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.input_rules import InputRules
from logferry.config import InputSettings
from logferry.errors import SourceError

logger = logging.getLogger(__name__)

# At most this many of the names found at a time are logged one by one.
_MAX_NAMES_LOGGED: Final = 20


class FollowedNames:
    """Finds the names to follow. Used by the reading thread only."""

    def __init__(self, inputs: Iterable[InputSettings], registry: Registry, folders: FolderListings) -> None:
        """Check the inputs, but find no names yet. Raises SourceError when a name is a directory or the like."""
        self._registry = registry
        self._folders = folders
        self._inputs: list[tuple[InputRules, Discovery]] = []
        self._generation = -1  # of the folder listings, when names were last looked for
        self.replace_inputs(inputs)
        self._reject_what_is_not_a_file()

    def replace_inputs(self, inputs: Iterable[InputSettings]) -> None:
        """Use these inputs from the next `find` on."""
        self._inputs = [
            (InputRules(settings), Discovery(settings.log_file, settings.exclude, folders=self._folders))
            for settings in inputs
        ]
        self._generation = -1

    def _reject_what_is_not_a_file(self) -> None:
        """Raise SourceError for a directory or the like: it will never become a log file, unlike a missing file."""
        for wanted, _ in self._inputs:
            for path in wanted.settings.log_file:
                if os.path.exists(path) and not os.path.isfile(path):
                    raise SourceError(path, "is a directory" if os.path.isdir(path) else "not a regular file")

    @property
    def folders(self) -> set[str]:
        """The folders where a name could appear."""
        return {folder for _, discovery in self._inputs for folder in discovery.visited}

    def is_followed(self, path: str) -> bool:
        """Whether an input asks for the name `path`, whether or not it exists."""
        return any(discovery.asks_for(path) for _, discovery in self._inputs)

    @property
    def may_start_at_end(self) -> bool:
        """Whether an input asks to start at the end of what is there when it is new."""
        return any(wanted.settings.start_at == "end" for wanted, _ in self._inputs)

    def wanted_by(self, path: str) -> str:
        """Return the pattern that asks for the name `path`; the path itself if none does."""
        asking = (discovery.pattern_of(path) for _, discovery in self._inputs)
        return next((pattern for pattern in asking if pattern is not None), path)

    def find(self) -> list[FollowedName]:
        """Add the names that exist now; return those that no input asks for any more, for the caller to drop."""
        are_inputs_new = self._generation < 0
        if not self._may_find_others():
            return []
        found: dict[str, tuple[InputRules, bool]] = {}
        for wanted, discovery in self._inputs:
            literal = {path for path in wanted.settings.log_file if not is_pattern(path)}
            for path in discovery.find():
                found.setdefault(path, (wanted, path in literal))
        self._add([path for path in found if path not in self._registry.names], found)
        surplus = []
        for path, name in self._registry.names.items():
            if path in found:
                name.follow_for(found[path][0])
            elif (name.files or name.resting) and not (are_inputs_new and os.path.isfile(path)):
                continue  # missing from the listing, perhaps only for a moment: its files are read to their end
            else:
                surplus.append(name)
        self._registry.revision += 1
        return surplus

    def _may_find_others(self) -> bool:
        """Whether a folder where names can appear has changed since the last `find`."""
        for folder in self.folders:
            self._folders.listing(folder)
        before, self._generation = self._generation, self._folders.generation
        return before != self._generation or any(not discovery.visited for _, discovery in self._inputs)

    def _add(self, new: Sequence[str], found: dict[str, tuple[InputRules, bool]]) -> None:
        real_folders: dict[str, str] = {}
        for path in new:
            wanted, is_literal = found[path]
            name = FollowedName(path, wanted, is_literal=is_literal)
            name.place = place_of(path, real_folders)
            self._registry.add_name(name)
        for path in new[:_MAX_NAMES_LOGGED]:
            logger.info("following %s", path)
        if len(new) > _MAX_NAMES_LOGGED:
            logger.info("following %d more files", len(new) - _MAX_NAMES_LOGGED)

    def named(self, path: str) -> FollowedName | None:
        """Return a followed name, or a new one if an input asks for a name that nothing has now; None if none does."""
        if (known := self._registry.names.get(path)) is not None:
            return known
        wanted = next((wanted for wanted, discovery in self._inputs if discovery.asks_for(path)), None)
        return FollowedName(path, wanted, is_literal=False) if wanted else None

    def drop(self, name: FollowedName) -> None:
        """Stop following a name: no input asks for it any more, or the name and its files are gone."""
        if name.files:
            logger.info("no longer following %s", name.path)
        self._registry.remove_name(name)
