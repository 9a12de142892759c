"""How the review app is started: the command, its environment and its looks."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from apps.review.theme import looks
from medvit.errors import InputError

SERVE = Path(__file__).with_name("serve.py")

BEHAVIOUR: dict[str, str] = {
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.showEmailPrompt": "false",
}

FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
"""Lets glibc return the memory of slices to the system when they go, not keep it for later."""


def app_command(port: int, host: str, auth: Path | None = None) -> list[str]:
    """Return the command line that serves the app until it is stopped.

    Run it with `app_environment`, which says what to serve: a store's URL may hold a
    password, and command lines are open to every user of a machine. The flag -P keeps a
    folder named `apps` in the working folder from being taken for this one.

    Args:
        port: To listen on.
        host: Address to listen on.
        auth: File with the sign-in provider; its secrets stay in it.
    """
    options = {**BEHAVIOUR, **looks(), "server.address": host, "server.port": str(port)}
    if auth is not None:
        options["secrets.files"] = str(auth.resolve())
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(SERVE), *flags]


def app_environment(
    workspace: Path, store: str, base: Mapping[str, str], auth: Path | None = None
) -> dict[str, str]:
    """Return `base` with what the app reads: workspace, store, and how readers sign in."""
    own = {
        "MEDVIT_WORKSPACE": str(workspace.resolve()),
        "MEDVIT_STORE": store,
        "MEDVIT_AUTH": str(auth.resolve()) if auth is not None else "",
        **FREED_AT_ONCE,
    }
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
