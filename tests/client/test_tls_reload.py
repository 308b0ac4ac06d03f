"""The files of a running client's TLS: loaded again when somebody asks for that, and shown in the metrics."""

from pathlib import Path

import pytest

from logferry import tls_files
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.tls_reload import watching_tls
from logferry.telemetry.metrics import Metrics
from tests.support.certificates import DAY, NOW, files_of, issued
from tests.support.running import wait_until
from tests.support.shipping import ship_settings


def test_a_reload_loads_the_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_files, "LOOK_S", 3600.0)
    own = files_of(issued("web-1"), tmp_path)
    settings = ship_settings(tmp_path / "app.log", 1, tls=True, tls_cert=own.certificate, tls_key=own.key)
    metrics = Metrics()
    with watching_tls(Endpoint.of(settings), metrics) as load_again:
        files_of(issued("web-1", not_after=NOW + 30 * DAY), tmp_path)
        load_again()
        expected = int((NOW + 30 * DAY).timestamp())
        wait_until(lambda: metrics.total().gauges.tls_expires_at == expected, "the new certificate is loaded")
        own.key.unlink()
        load_again()
        wait_until(lambda: metrics.total().counters.tls_reload_failures == 1, "the failure is counted at once")


def test_without_tls_there_is_nothing_to_load(tmp_path: Path) -> None:
    metrics = Metrics()
    with watching_tls(Endpoint.of(ship_settings(tmp_path / "app.log", 1)), metrics) as load_again:
        load_again()
    assert metrics.total().gauges.tls_expires_at == 0
