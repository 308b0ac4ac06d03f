"""Begins a run: opens what was rotated before it, and decides where the files of new names are read from (--start-at).

Owns what an earlier run followed: a name, or a pattern, that it followed is not new, and all that came since is read.
Must never decide what is read of a file that was read before: its checkpoint does.
"""

from collections.abc import Iterable, Iterator

from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.names import FollowedNames
from logferry.client.readers.follow.opening import FileOpener
from logferry.client.recognition.recognise import Recogniser
from logferry.model.loss import Loss, LossKind


class Beginning:
    """The first look of a run at the names. Used by the reading thread only."""

    def __init__(self, registry: Registry, names: FollowedNames, opener: FileOpener, recogniser: Recogniser) -> None:
        """Note what earlier runs followed, before this run changes it."""
        self._registry = registry
        self._names = names
        self._opener = opener
        self._recogniser = recogniser
        self._new = set(self._new_names_at_end()) if names.may_start_at_end else set()

    def _new_names_at_end(self) -> Iterator[FollowedName]:
        followed = {self._names.wanted_by(known.path) for known in self._recogniser.checkpoints}
        for name in self._registry.names.values():
            if name.input.settings.start_at == "end" and self._names.wanted_by(name.path) not in followed:
                yield name

    def open_rotated(self) -> None:
        """Open the files that were rotated since the last run, also those whose name leads to nothing now."""
        for name in list(self._registry.names.values()):
            self._opener.open_rotated_since_last_run(name)
        for name in self._former_names():
            self._registry.add_name(name)
            self._opener.open_rotated_since_last_run(name)
            if not name.files:
                self._registry.remove_name(name)

    def _former_names(self) -> Iterable[FollowedName]:
        known = (known for known in self._recogniser.checkpoints if not (known.is_finished or known.is_settled))
        paths = dict.fromkeys(checkpoint.path for checkpoint in known if checkpoint.path not in self._registry.names)
        return [name for path in paths if (name := self._names.named(path)) is not None]

    def skip_to_ends(self) -> None:
        """Begin at the end of the files that have names for which --start-at says so, unless they are not new."""
        for name in self._registry.names.values():
            if name.input.settings.start_at == "end" and name.newest is not None:
                try:
                    self._skip_to_end(name, name.newest)
                except OSError as error:
                    self._registry.note_failure(name.newest, error)

    def _skip_to_end(self, name: FollowedName, file: FollowedFile) -> None:
        if file.offset:
            return
        if file.source.asked_from:  # an earlier run was killed before the server knew
            file.skip_to(file.source.asked_from)
        elif name in self._new:
            name.input.prepare_lines(file)
            file.skip_to_end()
        if file.offset:
            file.source.asked_from = file.offset
            reason = "not asked for (--start-at end)"
            self._registry.losses.append(Loss(file.source, 0, file.offset, reason, kind=LossKind.SKIPPED))
        else:
            self._recogniser.checkpoints.follow(file.source)  # an empty file: the next run must know the name
