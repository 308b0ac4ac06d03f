"""A real Prometheus scrapes both ends, with the rules of deploy/monitoring."""

import json
import re
import shutil
import urllib.parse
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, Program, client, free_port, program, server
from tests.support.running import wait_until
from tests.support.shipping import append

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: logferry-server
    static_configs: [{{targets: ["127.0.0.1:{server}"]}}]
  - job_name: logferry-client
    static_configs: [{{targets: ["127.0.0.1:{client}"]}}]
"""


def port_of_numbers(running: Program) -> str:
    """Return the port where a program says that it serves its numbers."""
    running.wait_for_stderr("/metrics")
    found = re.search(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", running.stderr)
    assert found
    return found[1]


def asked(port: int, path: str, **query: str) -> Any:
    """Return what Prometheus answers; nothing while it does not."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]
    except OSError:
        return {}


def value(port: int, query: str) -> float | None:
    """Return the value of a query with one result; None while there is not one."""
    results = asked(port, "query", query=query).get("result", [])
    return float(results[0]["value"][1]) if len(results) == 1 else None


def is_seen(port: int, query: str, wanted: float) -> bool:
    """Whether a query has this value."""
    return value(port, query) == wanted


def test_prometheus_scrapes_both_ends_and_evaluates_the_rules(tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    log, http = append(tmp_path / "app.log", range(100)), ("--http", "127.0.0.1:0")
    follow = ("--mode", "continuous", "--poll-interval", "0.02")
    with (
        server(tmp_path / "data", *http, folder=tmp_path) as serving,
        client(log, serving.port, *http, *follow, folder=tmp_path) as shipping,
    ):
        ports = {"server": port_of_numbers(serving.program), "client": port_of_numbers(shipping)}
        configuration = tmp_path / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(rules=ROOT / "deploy" / "monitoring" / "alerts.yml", **ports))
        port = free_port()
        words = (f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path / 'tsdb'}")
        with program(prometheus, *words, f"--web.listen-address=127.0.0.1:{port}", folder=tmp_path) as running:
            for name, wanted in (
                ("logferry_server_lines_stored_total", 100),
                ("logferry_client_lines_acked_total", 100),
                ("logferry_client_ack_latency_seconds_count", 100),
                ("logferry_client_unread_bytes + logferry_client_unacked_bytes", 0),
                ("logferry_server_ready", 1),
                ("logferry_client_ready", 1),
            ):
                wait_until(partial(is_seen, port, name, wanted), f"{name} is {wanted}")
            assert not running.is_over, running.stderr
            targets = asked(port, "targets")["activeTargets"]
            assert [(each["health"], each["lastError"]) for each in targets] == [("up", "")] * 2
            groups = asked(port, "rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert len(rules) >= 12
            wait_until(
                lambda: all(
                    rule["health"] == "ok" and rule["state"] == "inactive"
                    for group in asked(port, "rules")["groups"]
                    for rule in group["rules"]
                ),
                "every rule is evaluated, and none fires",
            )
            assert running.terminate() == 0
