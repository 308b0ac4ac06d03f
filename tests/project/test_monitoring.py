"""deploy/monitoring: the rules and the dashboard use metrics that exist, and each alert fires when it should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from logferry.telemetry.server_table import SERVER
from logferry.telemetry.table import CLIENT, Kind
from tools.generate_docs import ROOT

FOLDER: Final = ROOT / "deploy" / "monitoring"
DASHBOARD: Final = FOLDER / "dashboard.json"
RULES: Final = FOLDER / "alerts.yml"


def exposed_names() -> set[str]:
    """Return the name of every series that the programs expose."""
    names = {metric.exposed_as for metric in (*CLIENT, *SERVER)}
    histograms = [metric.exposed_as for metric in CLIENT if metric.kind is Kind.HISTOGRAM]
    return names | {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}


def used_names(text: str) -> set[str]:
    """Return the names of metrics in a text."""
    return set(re.findall(r"\blogferry_(?:client|server)_[a-z_]+", text))


def queries(part: Any) -> Iterator[str]:
    """Yield every query of a dashboard."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "expr")
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from queries(each)


def promtool(*words: str | Path) -> str:
    """Run promtool; return what it says, or fail with it."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", [RULES, DASHBOARD, FOLDER / "alerts_test.yml"], ids=lambda path: path.name)
def test_every_metric_that_is_used_is_exposed(path: Path) -> None:
    used = used_names(path.read_text(encoding="utf-8"))
    assert used
    assert used <= exposed_names()


def test_the_rules_and_the_configuration_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", FOLDER / "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "alerts_test.yml")


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    rules, tests = (path.read_text(encoding="utf-8") for path in (RULES, FOLDER / "alerts_test.yml"))
    alerts = re.findall(r"- alert: (\w+)", rules)
    for alert in alerts:
        assert re.search(rf"alertname: {alert}\n +exp_alerts:\n", tests), f"{alert} never fires in alerts_test.yml"
    for word in ("expr", "severity", "summary", "description"):
        assert rules.count(f"{word}:") == len(alerts)
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [alert for alert in alerts if alert not in operations] == []


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard["uid"] == "logferry"
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    assert all(panel["targets"] for panel in panels if panel["type"] != "row")
    found = list(queries(panels))
    assert len(found) > 20
    assert all(query.count("(") == query.count(")") for query in found)
