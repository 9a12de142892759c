from __future__ import annotations

from pathlib import Path

import pytest

from medvit.io.os_errors import is_system_error, unreadable


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied"), True),
        (FileNotFoundError("no such file or no access"), True),
        (OSError("broken data stream when reading image file"), False),
        (ValueError("bad tag"), False),
    ],
)
def test_the_system_is_told_from_broken_content(error: Exception, expected: bool) -> None:
    assert is_system_error(error) is expected


def test_the_message_names_the_file_and_what_the_system_said() -> None:
    error = unreadable(Path("a/b.dcm"), PermissionError(13, "Permission denied"))
    assert error.message == "b.dcm: cannot be opened (Permission denied)"
    assert error.reason == "unreadable"
    assert error.hint
