"""A changed configuration of a running server: what changes, what waits for a restart, and what is left alone."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.config import ServeSettings, load
from logferry.config.kinds.listen_urls import ListenUrl
from logferry.errors import ConfigError
from logferry.protocol.lines.validation import Accept
from logferry.protocol.plain.server import Limits
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.networks import Networks
from logferry.server.clients.roster import RosterSettings
from logferry.server.clients.sessions.base import SessionTerms
from logferry.server.reload import CHANGEABLE, Reloads
from tests.support.clients import World
from tests.support.delivery import LINES
from tests.support.running import DEADLINE_S, running_server, wait_until

OLD = dataclasses.replace(load(ServeSettings, {}, {}), config=Path("server.toml"))


def reload(old: ServeSettings, load_again: Callable[[], ServeSettings]) -> list[ServeSettings]:
    """Request one reload; return the settings that it applied, if any."""
    applied: list[ServeSettings] = []
    asyncio.run(Reloads(old, load_again).reload(applied.append))
    return applied


def changed(**changes: Any) -> Callable[[], ServeSettings]:
    """Return what loads the old settings with changes."""
    return lambda: dataclasses.replace(OLD, **changes)


def test_what_can_change_at_once_does_and_the_log_names_what_needs_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logferry")
    (new,) = reload(OLD, changed(retention_days=7, idle_timeout=60.0, server_port=9001, data_dir=Path("elsewhere")))
    assert new == dataclasses.replace(OLD, retention_days=7, idle_timeout=60.0)
    assert caplog.messages == [
        "reloaded server.toml; changed: idle_timeout, retention_days",
        "server.toml: a restart is needed for the new server_port, data_dir",
    ]


def test_a_changed_listener_needs_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    (new,) = reload(OLD, changed(listen=(ListenUrl("tls", "127.0.0.1", 9443),), tls_cert=Path("server.pem")))
    assert new == OLD
    assert caplog.messages[-1] == "server.toml: a restart is needed for the new listen, tls_cert"


def test_an_invalid_configuration_keeps_the_old_one_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> ServeSettings:
        raise ConfigError(["server.toml: retention_days: 'soon' must be a number", "another problem"])

    assert reload(OLD, refuse) == []
    assert caplog.messages == [
        "the old configuration stays in force: server.toml: retention_days: 'soon' must be a number",
        "the old configuration stays in force: another problem",
    ]


def test_a_failure_that_nobody_expected_keeps_the_old_configuration(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> ServeSettings:
        raise ZeroDivisionError

    assert reload(OLD, fail) == []
    assert caplog.messages == ["the old configuration stays in force"]


def test_without_a_file_there_is_nothing_to_reload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logferry")
    assert reload(dataclasses.replace(OLD, config=None), changed(retention_days=7)) == []
    assert caplog.messages == ["nothing to reload: there is no configuration file (--config)"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, []),
        (OLD.config, ["reloaded server.toml; changed: retention_days"]),
    ],
)
def test_a_request_says_which_files_are_loaded_again(
    caplog: pytest.LogCaptureFixture, config: Path | None, expected: list[str]
) -> None:
    caplog.set_level(logging.INFO, "logferry")

    async def request() -> None:
        reloads = Reloads(dataclasses.replace(OLD, config=config), changed(retention_days=7))
        task = asyncio.ensure_future(
            reloads.run(lambda _: None, lambda: ["the files of TLS", "the clients file"]),
        )
        reloads.request()
        async with asyncio.timeout(DEADLINE_S):
            while len(caplog.messages) < 1 + len(expected):
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(request())
    assert caplog.messages == ["loading the files of TLS and the clients file again", *expected]


def test_a_storm_of_requests_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logferry")
    reloaded = 0

    async def storm() -> None:
        reloads = Reloads(dataclasses.replace(OLD, config=None), changed())

        def load_files() -> list[str]:
            nonlocal reloaded
            reloaded += 1
            return ["the files of TLS"]

        task = asyncio.ensure_future(reloads.run(lambda _: None, load_files))
        async with asyncio.timeout(DEADLINE_S):
            while reloaded < 500:
                reloads.request()
                await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(storm())
    logged = [message for message in caplog.messages if message == "loading the files of TLS again"]
    counted = [message for message in caplog.messages if "more messages about reloads" in message]
    assert len(logged) < 100 < 500 - len(logged)
    assert counted


def test_every_setting_that_is_called_changeable_is_one() -> None:
    assert {field.name for field in dataclasses.fields(ServeSettings)} >= CHANGEABLE


def test_new_connections_have_the_new_terms_and_old_ones_keep_theirs() -> None:
    world = World()
    old = world.connect()
    terms = SessionTerms(Limits(max_record_bytes=1024), Accept.ANY_OBJECT, "fsync", 1024, "s7")
    world.roster.reconfigure(
        RosterSettings(max_connections=2, patience=Patience(idle_s=30), terms=terms, proxies=Networks(["10.0.0.9"]))
    )
    new, behind, third = world.connect(), world.connect("10.0.0.9"), world.connect()
    behind.send(LINES[0])
    old.send(b'{"no": "level"}\n')
    new.send(b'{"no": "level"}\n')
    assert (old.statuses(), new.statuses()) == (["error"], ["ok"])
    assert third.server_has_closed, "the new limit is reached"
    world.pass_time(40)
    assert old.server_has_closed, "the time limit holds for every connection"


def test_a_running_server_takes_over_new_settings_and_drops_nobody(tmp_path: Path) -> None:
    with running_server(tmp_path, idle_timeout=60.0) as server:
        with server.connect() as before:
            before.send(LINES[0])
            assert before.answers(1) == ["ok"]
            new = dataclasses.replace(
                server.server._settings, accept="any-object", retention_days=1, memory_limit_bytes=1024 * 1024
            )
            server.server._loop.call_soon_threadsafe(server.server.reconfigure, new)
            wait_until(lambda: server.server._settings is new, "the settings are applied")
            before.send(LINES[1])
            assert before.answers(1) == ["ok"]
            with server.connect() as after:
                after.send(b"{}\n")
                assert after.answers(1) == ["ok"]
        assert sorted(server.stored_lines()) == sorted([LINES[0], LINES[1], b"{}\n"])
