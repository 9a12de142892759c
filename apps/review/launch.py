"""How the review app is started: the command, its environment and its looks."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from medvit.errors import InputError

SERVE = Path(__file__).with_name("serve.py")

LOOKS: dict[str, str] = {
    "theme.base": "dark",
    "theme.primaryColor": "#4ca9d8",
    "theme.backgroundColor": "#0f1316",
    "theme.secondaryBackgroundColor": "#181d22",
    "theme.textColor": "#dde3e8",
    "theme.borderColor": "#2a3138",
    "theme.linkColor": "#7cc4ea",
    "theme.baseRadius": "6px",
    "theme.baseFontSize": "14",
    "theme.showWidgetBorder": "true",
}

BEHAVIOUR: dict[str, str] = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
}


def app_command(port: int, host: str) -> list[str]:
    """Return the command line that serves the app until it is stopped.

    Run it with `app_environment`, which says what to serve: a store's URL may hold a
    password, and command lines are open to every user of a machine. The flag -P keeps a
    folder named `apps` in the working folder from being taken for this one.
    """
    options = {**BEHAVIOUR, **LOOKS, "server.address": host, "server.port": str(port)}
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(SERVE), *flags]


def app_environment(workspace: Path, store: str, base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with what the app reads: where the workspace and the store are."""
    own = {"MEDVIT_WORKSPACE": str(workspace.resolve()), "MEDVIT_STORE": store}
    return {**base, **own}


def require_free_port(port: int, host: str) -> None:
    """Check that the app can listen where it is to.

    Raises:
        InputError: If the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken" if taken else f"cannot be used ({error.strerror})"
            msg = f"port {port} of {host} {why}"
            raise InputError(msg, hint="choose another with --port") from error
