"""A process that takes presses of buttons for a store, as the app does, and can be killed.

Run with `python -m tests.make.press_server URL`; prints its port. One line of JSON a request,
one a reply: `{"look": case}` or `{"press": fields of a Decision, "version": n}`.
"""

from __future__ import annotations

import json
import socketserver
import sys
from typing import Any

from medvit.errors import StoreConflictError
from medvit.store.rows import Decision
from medvit.store.store import Store


class Presses(socketserver.StreamRequestHandler):
    """Answers one browser until it hangs up."""

    def handle(self) -> None:
        for line in self.rfile:
            reply = _reply(self.server.store, json.loads(line))  # type: ignore[attr-defined]
            self.wfile.write(json.dumps(reply).encode() + b"\n")
            self.wfile.flush()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


def _reply(store: Store, asked: dict[str, Any]) -> dict[str, Any]:
    if "look" in asked:
        case = store.get_case(asked["look"])
        return {"version": -1 if case is None else case.version}
    try:
        row = store.decide(Decision(**asked["press"]), expected_version=asked["version"])
    except StoreConflictError as error:
        return {"conflict": error.message}
    return {"saved": row.id}


def main() -> None:
    with Store.open(sys.argv[1]) as store, Server(("127.0.0.1", 0), Presses) as server:
        server.store = store  # type: ignore[attr-defined]
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
