"""`medvit app`: the review app, served on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.exit_codes import ExitCode
from apps.cli.session import Session
from apps.review.launch import app_command, app_environment, require_free_port
from apps.review.provider import read_provider, require_provider
from medvit.errors import InputError

PORT = 8501
HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 10.0


def register(cli: typer.Typer) -> None:
    """Add the command."""
    command(cli, "app", example="medvit app --port 8502")(app)


def app(
    session: Session,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    auth: Annotated[
        Path | None, typer.Option(help="File that names the sign-in provider (OpenID Connect).")
    ] = None,
    no_sign_in: Annotated[
        bool, typer.Option("--no-sign-in", help="Let other machines in without asking who comes.")
    ] = False,
) -> ExitCode:
    """Open the review app on what was scanned into the workspace.

    Listens on this machine only, unless --host says otherwise, which needs --auth. Ctrl-C
    stops it.
    """
    provider = None if auth is None else read_provider(auth)
    require_provider(host, provider, anybody=no_sign_in)
    require_free_port(port, host)
    session.workspace.prepare()
    session.answer({"url": url_of(host, port)}, f"review app: {url_of(host, port)}")
    serve(session, host=host, port=port, auth=auth)
    return ExitCode.DONE


def url_of(host: str, port: int) -> str:
    """Return the address of the app for a browser on this machine."""
    if host in ("0.0.0.0", "::"):
        host = HOST
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(session: Session, *, host: str, port: int, auth: Path | None = None) -> None:
    """Run the app until a signal stops it; a browser is opened where there is a screen.

    Raises:
        InputError: If the app does not start.
    """
    workspace = session.workspace
    store = workspace.store_url
    child = subprocess.Popen(
        app_command(port, host, auth),
        env=app_environment(workspace.folder, store, os.environ, auth),
        stdout=sys.stderr.fileno(),
    )
    try:
        if _wait_until_up(child, host, port) and _has_screen():
            webbrowser.open(url_of(host, port))
        code = child.wait()
    except KeyboardInterrupt:
        code = 0  # how a person ends an app
    finally:
        _stop(child)
    if code:
        msg = f"the review app ended with code {code}"
        raise InputError(msg, hint="its own messages stand above; check with `medvit doctor`")


def _wait_until_up(child: subprocess.Popen[bytes], host: str, port: int) -> bool:
    deadline = time.monotonic() + START_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _has_screen() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
