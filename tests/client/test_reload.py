"""Taking over a changed configuration: what changes, what needs a restart, and that a mistake changes nothing."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry.client.reload import Reloads
from logferry.config import InputSettings, ShipSettings
from logferry.errors import ConfigError
from tests.support.running import wait_until
from tests.support.shipping import ship_settings


@pytest.fixture(autouse=True)
def level_restored(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Listen from debug on, whatever level is taken over; put the level back."""
    before = logging.getLogger().level
    caplog.set_level(logging.DEBUG)
    yield
    logging.getLogger().setLevel(before)


class Client:
    """A client that is there only to be given inputs."""

    def __init__(self, settings: ShipSettings) -> None:
        self.wanted: ShipSettings | Exception = settings
        self.given: list[Sequence[InputSettings]] = []
        self.threads: set[threading.Thread] = set()
        self.reloads = Reloads(settings, self._load)

    def _load(self) -> ShipSettings:
        self.threads.add(threading.current_thread())
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return self.wanted

    def reload(self, is_done: Callable[[], bool]) -> None:
        """Let it reload until something is so."""
        with self.reloads.delivering_to(self.given.append):
            self.reloads.request()
            wait_until(is_done, "the reload is done")


def settings_of(tmp_path: Path, *names: str, **changes: Any) -> ShipSettings:
    settings = ship_settings(tmp_path / "app.log", 9000, mode="continuous", config=tmp_path / "logferry.toml")
    inputs = tuple(dataclasses.replace(settings.inputs[0], log_file=(name,)) for name in names)
    return dataclasses.replace(settings, inputs=inputs, **changes)


def test_new_inputs_and_the_log_level_are_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.wanted = settings_of(tmp_path, "/a", "/b", log_level="warning", state_dir=None)
    client.reload(lambda: bool(client.given))
    assert client.given == [client.wanted.inputs]
    assert logging.getLogger().level == logging.WARNING
    assert f"reloaded {tmp_path}/logferry.toml; inputs: 2" in caplog.messages


def test_another_host_needs_a_restart_in_the_records_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server goes on to file what comes under the name that the client was started with."""
    old = settings_of(tmp_path, "/a", host="old")
    old = dataclasses.replace(old, inputs=tuple(dataclasses.replace(own, host="old") for own in old.inputs))
    new = settings_of(tmp_path, "/b", host="new")
    client = Client(old)
    client.wanted = dataclasses.replace(new, inputs=tuple(dataclasses.replace(own, host="new") for own in new.inputs))
    client.reload(lambda: bool(client.given))
    ((given,),) = client.given
    assert (given.log_file, given.host) == (("/b",), "old")
    (warning,) = (message for message in caplog.messages if "a restart is needed" in message)
    assert "host" in warning
    assert "inputs" not in warning


def test_the_file_is_read_in_a_thread_that_ends_with_the_run(tmp_path: Path) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.reload(lambda: bool(client.given))
    (thread,) = client.threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_a_request_before_the_run_begins_is_kept_and_one_after_its_end_does_no_harm(tmp_path: Path) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.reloads.request()
    with client.reloads.delivering_to(client.given.append):
        wait_until(lambda: bool(client.given), "the request is answered")
    client.reloads.request()
    assert len(client.given) == 1


def test_what_needs_a_restart_is_named_in_one_line_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    settings = settings_of(tmp_path, "/b", server_port=9001, compress=True)
    client.wanted = dataclasses.replace(settings, state_dir=client._load().state_dir)
    client.reload(lambda: bool(client.given))
    assert f"{tmp_path}/logferry.toml: a restart is needed for the new server_port, compress" in caplog.messages
    assert client.given == [client.wanted.inputs]


def test_problems_are_logged_and_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.wanted = ConfigError(["logferry.toml, line 3: one", "logferry.toml, line 4: two"])
    client.reload(lambda: len(caplog.messages) == 2)
    assert caplog.messages == [
        "the old configuration stays in force: logferry.toml, line 3: one",
        "the old configuration stays in force: logferry.toml, line 4: two",
    ]
    assert client.given == []


def test_whatever_goes_wrong_the_next_request_is_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.wanted = OSError("gone")
    with client.reloads.delivering_to(client.given.append):
        client.reloads.request()
        wait_until(lambda: caplog.messages == ["the old configuration stays in force"], "the problem is logged")
        client.wanted = settings_of(tmp_path, "/b")
        client.reloads.request()
        wait_until(lambda: bool(client.given), "the reload is done")
    assert client.given == [client.wanted.inputs]


def test_an_input_that_can_never_be_a_log_file_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.wanted = settings_of(tmp_path, str(tmp_path))
    client.reload(lambda: bool(caplog.messages))
    assert caplog.messages == [
        f"the old configuration stays in force: {tmp_path}/logferry.toml: "
        f"log_file: '{tmp_path}' is a directory; '{tmp_path}/*' means the files in it"
    ]
    assert client.given == []


def test_standard_input_needs_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(settings_of(tmp_path, "/a"))
    client.wanted = settings_of(tmp_path, "-")
    client.reload(lambda: bool(caplog.messages))
    (message,) = caplog.messages
    assert message.endswith("logferry.toml: log_file: to read standard input (-) a restart is needed")
    assert client.given == []


def test_without_a_file_there_is_nothing_to_reload_but_new_files_are_looked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path, "/a", config=None)
    client = Client(settings)
    client.reload(lambda: bool(client.given))
    assert client.given == [settings.inputs]
    assert client.threads == set()
    assert "nothing to reload" in caplog.text


def test_without_a_file_a_client_with_tls_says_that_its_files_are_loaded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(settings_of(tmp_path, "/a", config=None, tls=True))
    client.reload(lambda: bool(client.given))
    assert "loading the files of TLS again, and looking for new log files" in caplog.text
    assert "nothing to reload" not in caplog.text
