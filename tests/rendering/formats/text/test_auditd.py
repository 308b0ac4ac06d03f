"""The auditd format, case by case (docs/protocol.md, rule F46)."""

import pytest

from tests.support.formats import check_sample, record, unknown


def test_a_sample_becomes_its_expected_records() -> None:
    """Rule F46."""
    check_sample("auditd", "auditd")


def test_the_fields_of_a_record_stay_together_in_the_message() -> None:
    """Rule F46: they may repeat a key."""
    rest = "user pid=8 uid=0 msg='op=login acct=\"bob\" res=failed'"
    assert record("auditd", f"type=USER_LOGIN msg=audit(1772622733.415:4063): {rest}") == {
        "level": "UNKNOWN",
        "message": rest,
        "timestamp": "1772622733.415",
        "type": "USER_LOGIN",
        "serial": "4063",
    }


@pytest.mark.parametrize(
    "line",
    ["type=x msg=audit(1.2:3): a", "type=A msg=audit(1.2:3):a", "type=A msg=audit(12:3): a", "msg=audit(1.2:3): a"],
)
def test_a_line_of_another_shape_is_shipped_whole(line: str) -> None:
    """Rules F5 and F46."""
    assert record("auditd", line) == unknown(line)
