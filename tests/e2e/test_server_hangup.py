"""SIGHUP: a running server takes over its changed configuration file, or keeps the old one, and ends nothing."""

import signal
from pathlib import Path

from tests.support.processes import client, server
from tests.support.running import stored_lines, wait_until
from tests.support.shipping import append, assert_conserved


def test_a_hangup_reloads_the_configuration_and_loses_nothing(tmp_path: Path) -> None:
    config, log = tmp_path / "server.toml", append(tmp_path / "app.log", range(100))
    config.write_text("idle_timeout = '10m'\n")
    with server(tmp_path / "data", "--config", str(config), folder=tmp_path) as running:
        words = ("--mode", "continuous", "--poll-interval", "0.02")
        with client(log, running.port, *words, folder=tmp_path) as shipper:
            wait_until(lambda: len(stored_lines(tmp_path / "data")) == 100, "the first lines are stored")
            config.write_text("idle_timeout = '5m'\nretention_days = 9\nserver_host = '0.0.0.0'\n")
            running.program.send(signal.SIGHUP)
            running.program.wait_for_stderr("changed: idle_timeout, retention_days")
            config.write_text("retention_days = 'soon'\n")
            running.program.send(signal.SIGHUP)
            running.program.wait_for_stderr("the old configuration stays in force")
            append(log, range(100, 200))
            wait_until(lambda: len(stored_lines(tmp_path / "data")) >= 200, "the other lines are stored")
            assert shipper.terminate() == 0, shipper.stderr
        assert "connected: " in running.program.stderr
        assert running.program.stderr.count("connected: ") == 1 + running.program.stderr.count("disconnected: ")
        assert running.program.terminate() == 0, running.program.stderr
    assert_conserved(range(200), stored_lines(tmp_path / "data"))
