"""The JSON that commands print is what docs/json.md describes: every key, with the type that it has."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from logferry.cli.client.repair import reports_as_json
from logferry.cli.client.try_report import trial_as_json
from logferry.cli.client.verify import verdicts_as_json
from logferry.cli.reading.hosts import hosts_as_json
from logferry.cli.reading.stats_report import statistics_as_json
from logferry.cli.server.fsck import findings_as_json
from logferry.client.proof.former import FormerSource
from logferry.client.proof.lines import LineProblem
from logferry.client.proof.repair import RepairReport
from logferry.client.proof.verdict import Range, Verdict
from logferry.client.readers.trial import AutoChoice, Trial
from logferry.protocol.messages.reports import RecordedLoss
from logferry.reading.counting.hosts import Host
from logferry.reading.counting.statistics import By, Row, Statistics
from logferry.server.storage.disk.integrity.data_folder import Finding

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
SCHEMAS: Final = {
    schema["$id"]: schema for schema in (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
}

LOSS: Final = RecordedLoss(0, 5, "gone")
RANGE: Final = Range(0, 5, 1, "gone", 1, 1)
VERDICT: Final = Verdict(
    *("app.log", "s1"),
    missing=[RANGE],
    altered=[RANGE],
    losses=[LOSS],
    wrong_lines=[LineProblem("altered", 1, 1, "a", "b")],
    former=[FormerSource("s2", losses=[LOSS])],
)
TRIAL: Final = Trial(AutoChoice("json", 20, {"json": 19}, {"json": 19}), is_all=True, unknown=["a 1"], records=[b"{}"])
CLIENT: Final = {
    "at": 1000,
    "version": "1.0",
    "behind_since": None,
    "waits_for": "",
    "unread_bytes": 1,
    "unacked_bytes": 2,
    "unacked_lines": 3,
}
OUTPUTS: Final = {
    "verify": verdicts_as_json([VERDICT, Verdict("b.log")]),
    "repair": reports_as_json([RepairReport("app.log", "s1", 2, 1, 7, ["bytes 0 to 5: gone"])]),
    "try": trial_as_json("app.log", TRIAL),
    "stats": statistics_as_json(
        Statistics(By.MINUTE, [Row(0, 2, [("web-1", 2)], [("order <n>", 2)], {"INFO": 2})], 2), most=None
    ),
    "hosts": hosts_as_json([Host("web-1", 1, 1, 2, 70, 0, 0), Host("web-2", client=CLIENT)]),
    "fsck": findings_as_json([Finding("web-1/app.log/2026-01-01-1.ndjson", 70, 1, "")]),
}

_TYPES: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def mismatches(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> list[str]:
    """Return where a value is not as a schema says, or has more keys than it names."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r}"]
    if not isinstance(value, _TYPES[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        return [f"{where}: {value!r} is not of type {schema['type']}"]
    found: list[str] = []
    if isinstance(value, dict) and "additionalProperties" in schema:
        for key, each in value.items():
            found += mismatches(each, schema["additionalProperties"], root, f"{where}.{key}")
    elif isinstance(value, dict):
        found += [f"{where}: {key}" for key in set(schema["required"]) ^ set(value)]
        found += [f"{where}: {key} is not described" for key in set(schema["properties"]) ^ set(value)]
        for key in set(value) & set(schema["properties"]):
            found += mismatches(value[key], schema["properties"][key], root, f"{where}.{key}")
    if isinstance(value, list):
        items = schema.get("prefixItems") or [schema.get("items", {"type": "array"})] * len(value)
        for place, (each, expected) in enumerate(zip(value, items, strict=True)):
            found += mismatches(each, expected, root, f"{where}[{place}]")
    return found


@pytest.mark.parametrize("command", OUTPUTS)
def test_the_output_is_what_its_schema_says(command: str) -> None:
    assert mismatches(json.loads(OUTPUTS[command]), SCHEMAS[command], SCHEMAS[command]) == []


def test_every_schema_is_tested() -> None:
    assert set(SCHEMAS) == set(OUTPUTS)


def test_the_checker_notices_what_is_wrong() -> None:
    (verdict, _) = json.loads(OUTPUTS["verify"])
    found = mismatches([{**verdict, "proven": 1, "more": 2}], SCHEMAS["verify"], SCHEMAS["verify"])
    assert found == ["$[0]: more", "$[0]: more is not described", "$[0].proven: 1 is not of type boolean"]
