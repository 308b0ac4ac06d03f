"""Which names are followed: found by the patterns of the inputs, again whenever a folder has changed.

Owns the inputs, and the coming and going of names in the registry. Must never open a file.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Final

from logferry.client.finding.listing import Folders
from logferry.client.finding.patterns import Discovery, is_pattern
from logferry.client.readers.follow.name import FollowedName
from logferry.client.readers.follow.registry import Registry
from logferry.client.readers.input_rules import InputRules
from logferry.config import InputSettings
from logferry.errors import SourceError

logger = logging.getLogger(__name__)

# At most this many names are logged one by one when they are found.
_MAX_NAMES_LOGGED: Final = 20


class FollowedNames:
    """Finds the names that are to be followed. Used by the reading thread alone."""

    def __init__(self, inputs: Iterable[InputSettings], registry: Registry, folders: Folders) -> None:
        """Find nothing yet. Raises SourceError when a name is a directory or the like."""
        self._registry = registry
        self._folders = folders
        self._inputs: list[tuple[InputRules, Discovery]] = []
        self._generation = -1  # of the folders, when names were last looked for
        self.replace_inputs(inputs)
        self._reject_what_is_no_file()

    def replace_inputs(self, inputs: Iterable[InputSettings]) -> None:
        """Follow what these inputs ask for, from the next `find` on."""
        self._inputs = [
            (InputRules(settings), Discovery(settings.log_file, settings.exclude, folders=self._folders))
            for settings in inputs
        ]
        self._generation = -1

    def _reject_what_is_no_file(self) -> None:
        """Waiting is right for a file that is missing or forbidden, but a directory will not become a log file."""
        for wanted, _ in self._inputs:
            for path in wanted.settings.log_file:
                if os.path.exists(path) and not os.path.isfile(path):
                    raise SourceError(path, "is a directory" if os.path.isdir(path) else "not a regular file")

    @property
    def folders(self) -> set[str]:
        """The folders where a name could appear."""
        return {folder for _, discovery in self._inputs for folder in discovery.visited}

    def find(self) -> list[FollowedName]:
        """Follow the names that are there now; return those that nobody asks for any more, for the caller to drop."""
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
                continue  # gone when the folder was listed, perhaps for a moment only: its files are read to their end
            else:
                surplus.append(name)
        self._registry.revision += 1
        return surplus

    def _may_find_others(self) -> bool:
        """Whether a folder where names can appear has changed since they were last looked for."""
        for folder in self.folders:
            self._folders.listing(folder)
        before, self._generation = self._generation, self._folders.generation
        return before != self._generation or any(not discovery.visited for _, discovery in self._inputs)

    def _add(self, new: Sequence[str], found: dict[str, tuple[InputRules, bool]]) -> None:
        for path in new:
            wanted, is_literal = found[path]
            self._registry.names[path] = FollowedName(path, wanted, is_literal=is_literal)
        for path in new[:_MAX_NAMES_LOGGED]:
            logger.info("following %s", path)
        if len(new) > _MAX_NAMES_LOGGED:
            logger.info("following %d files more", len(new) - _MAX_NAMES_LOGGED)

    def drop(self, name: FollowedName) -> None:
        """Follow a name no longer: it is configured away, or it is gone and so are its files."""
        if name.files:
            logger.info("%s is not followed any more", name.path)
        self._registry.close(name)
        del self._registry.names[name.path]
