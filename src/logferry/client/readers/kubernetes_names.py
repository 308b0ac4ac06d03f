"""Reads the namespace, the pod and the container from the names of a node's container logs (`--add-kubernetes`).

The kubelet names the files so that nobody needs to ask the API (docs/protocol.md, rule F47):

    /var/log/pods/<namespace>_<pod>_<uid>/<container>/0.log
    /var/log/containers/<pod>_<namespace>_<container>-<id>.log       a link to the former

Must never guess: a path of another shape has none of these.
"""

import re
from typing import Final

FIELD_NAMES: Final = ("namespace", "pod", "container")

# Names of Kubernetes have no underscores, so these divide what they join. Only the names of pods may have dots.
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAMESPACE: Final = rf"(?P<namespace>{_LABEL})"
_POD: Final = r"(?P<pod>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)"
_CONTAINER: Final = rf"(?P<container>{_LABEL})"

_paths: Final = (
    re.compile(rf"(?:.*/)?pods/{_NAMESPACE}_{_POD}_[0-9A-Za-z-]+/{_CONTAINER}/[^/]+", re.DOTALL),
    re.compile(rf"(?:.*/)?containers/{_POD}_{_NAMESPACE}_{_CONTAINER}-[0-9a-f]{{64}}\.log[^/]*", re.DOTALL),
)

# The longest path that Linux knows, so that no pattern sees more.
_MAX_CHARACTERS: Final = 4096


def kubernetes_fields(path: str) -> list[tuple[str, str]]:
    """Return the fields that the path of a container's log shows; none if the path is not that of one."""
    if len(path) > _MAX_CHARACTERS:
        return []
    match = next(filter(None, (pattern.fullmatch(path) for pattern in _paths)), None)
    return [(name, match[name]) for name in FIELD_NAMES] if match else []
