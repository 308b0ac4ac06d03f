"""The scene that all tests of following share."""

from pathlib import Path

import pytest

from tests.support.following import Scene
from tests.support.running import RunningServer


@pytest.fixture
def scene(tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, quick_backoff: None) -> Scene:
    """Return a folder of log files with a server, and no client yet."""
    return Scene(tmp_path, server, monkeypatch)
