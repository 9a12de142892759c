"""The command that serves the app."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from apps.review import launch
from medvit.errors import InputError


def test_the_app_listens_where_told_and_reports_to_nobody() -> None:
    command = launch.app_command(8765, "127.0.0.1")
    assert "--server.address=127.0.0.1" in command
    assert "--server.port=8765" in command
    assert "--browser.gatherUsageStats=false" in command
    assert Path(command[command.index("run") + 1]).is_file()


def test_a_password_in_the_store_url_goes_by_the_environment_only(tmp_path: Path) -> None:
    url = "postgresql://reader:secret@db/medvit"
    environment = launch.app_environment(tmp_path, url, {"PATH": "/bin"})
    assert environment["MEDVIT_STORE"] == url
    assert environment["MEDVIT_WORKSPACE"] == str(tmp_path)
    assert environment["PATH"] == "/bin"
    assert not any("secret" in word for word in launch.app_command(1, "127.0.0.1"))


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 is taken") as caught:
            launch.require_free_port(port, "127.0.0.1")
    assert "--port" in caught.value.hint
    launch.require_free_port(port, "127.0.0.1")


def test_no_file_beside_the_entry_hides_a_module_of_python() -> None:
    import sys

    names = {path.stem for path in launch.SERVE.parent.glob("*.py")} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)
