"""Causes of system errors as people read them."""

import errno
import os

from logferry.errors import cause_of


def test_the_cause_is_what_the_system_says() -> None:
    error = OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/var/log/app.log")
    assert cause_of(error) == "No such file or directory"
    assert cause_of(error, with_path=True) == "/var/log/app.log: No such file or directory"


def test_an_error_without_a_reason_from_the_system_is_its_own_cause() -> None:
    assert cause_of(TimeoutError("timed out")) == "timed out"
    assert cause_of(TimeoutError("timed out"), with_path=True) == "timed out"
