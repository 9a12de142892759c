"""MLflow's own tracking service on an SQLite file, behind HTTP, which writes down what it hears.

Run with `python -m tests.make.mlflow_server FOLDER`; prints its port. The routes and all that
answers them are MLflow's; its command line and pages come with the full package only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HEARD = "heard.txt"
STORE = "mlflow.db"
LOCKED = "locked"
USER, PASSWORD = "lab", "pa55/w@rd"


@dataclass(frozen=True, slots=True)
class OwnMlflow:
    """A server of a test's own.

    Attributes:
        uri: Of the server.
        folder: Of its store, and of all that it heard.
    """

    uri: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def heard(self) -> str:
        """Headers and bodies of all requests so far."""
        return (self.folder / HEARD).read_text(encoding="utf-8")

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Answer nothing for a while, with the port still open."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Answer only who gives `USER` and `PASSWORD`."""
        (self.folder / LOCKED).touch()
        try:
            yield
        finally:
            (self.folder / LOCKED).unlink()


@contextmanager
def own_mlflow(folder: Path) -> Iterator[OwnMlflow]:
    """Start a server that is gone afterwards."""
    command = [sys.executable, "-m", "tests.make.mlflow_server", str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    try:
        assert child.stdout is not None
        yield OwnMlflow(f"http://127.0.0.1:{int(child.stdout.readline())}", folder, child)
    finally:
        child.kill()
        child.wait()


def main(folder: Path) -> None:
    """Serve until killed."""
    os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"})
    from flask import Flask, Response, request
    from mlflow.server import handlers
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *args: object) -> None:
            del args

    app = Flask("mlflow")
    for path, handler, methods in handlers.get_endpoints():  # type: ignore[no-untyped-call]
        app.add_url_rule(path, handler.__name__, handler, methods=methods)

    @app.before_request
    def hear() -> Response | None:
        with (folder / HEARD).open("a", encoding="utf-8") as stream:
            stream.write(
                f"{request.full_path}\n{request.headers}{request.get_data(as_text=True)}\n"
            )
        known = request.authorization
        if (folder / LOCKED).exists() and (
            known is None or (known.username, known.password) != (USER, PASSWORD)
        ):
            return Response("who is there?", 401)
        return None

    handlers.initialize_backend_stores(
        f"sqlite:///{folder / STORE}", default_artifact_root=str(folder / "files")
    )
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
