"""Twenty readers at one PostgreSQL, while processes are killed and the server crashes."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from medvit.store.rows import Decision
from medvit.store.store import Store
from tests.make.postgres import OwnPostgres, own_postgres
from tests.make.results import image_result

pytestmark = [pytest.mark.database, pytest.mark.slow]

READERS, EACH, CASES, HOT = 20, 100, 150, 10
PROCESSES, KILLS = 3, 6
PATIENCE_S = 60.0


class Apps:
    """Processes that serve readers; one that is killed is started anew at another port."""

    def __init__(self, url: str) -> None:
        self._command = [sys.executable, "-m", "tests.make.press_server", url]
        self._lock = threading.Lock()
        self._running = [self._start() for _ in range(PROCESSES)]

    def port(self, number: int) -> int:
        with self._lock:
            return self._running[number % PROCESSES][1]

    def kill(self, number: int) -> None:
        process, _ = self._running[number]
        process.kill()
        process.wait()
        fresh = self._start()
        with self._lock:
            self._running[number] = fresh

    def close(self) -> None:
        for process, _ in self._running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def _start(self) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, int(process.stdout.readline())


class Reader:
    """A person at a browser: presses a button, and again when no answer comes."""

    def __init__(self, number: int, apps: Apps) -> None:
        self.name = f"reader {number}"
        self._number = number
        self._apps = apps
        self._random = random.Random(number)
        self._line: socket.socket | None = None
        self.saved: dict[int, tuple[str, str, int]] = {}
        self.conflicts: list[str] = []
        self.sent_again = 0

    def work(self) -> Reader:
        for press in range(EACH):
            self._decide(press)
        if self._line is not None:
            self._line.close()
        return self

    def _decide(self, press: int) -> None:
        hot = self._random.random() < 0.3
        case_id = f"im-{self._random.randrange(HOT if hot else CASES)}"
        action = self._random.choice(["accept", "reject", "unsure"])
        for attempt in range(1000):
            version = self._ask({"look": case_id})["version"]
            fields = {"case_id": case_id, "finding_id": None, "action": action}
            token = f"{self._number}-{press}-{attempt}"
            fields |= {"reader": self.name, "token": token}
            answer = self._ask({"press": fields, "version": version})
            if "saved" in answer:
                self.saved[answer["saved"]] = (case_id, action, version)
                return
            self.conflicts.append(answer["conflict"])
        pytest.fail(f"{self.name} met a conflict a thousand times about {case_id}")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return self._send(request)
            except OSError:
                self._line = None
                self.sent_again += "press" in request
                time.sleep(0.02)
        pytest.fail(f"{self.name} got no answer within {PATIENCE_S} s")

    def _send(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._line is None:
            port = self._apps.port(self._number)
            self._line = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._line.sendall(json.dumps(request).encode() + b"\n")
        reply = b""
        while not reply.endswith(b"\n"):
            part = self._line.recv(65536)
            if not part:
                raise ConnectionResetError
            reply += part
        answer: dict[str, Any] = json.loads(reply)
        return answer


@pytest.fixture
def server() -> Iterator[OwnPostgres]:
    with own_postgres() as started:
        yield started


def _fill(store: Store) -> None:
    run_id = store.start_run("scan", {}, model="d@1", model_sha256="")
    for number in range(CASES):
        store.save_result(run_id, image_result(f"{number}", label="scratch"))


def _trouble(apps: Apps, server: OwnPostgres, done: threading.Event) -> int:
    """Kill processes at random, and let the server crash once; return how many were killed."""
    draw = random.Random(7)
    for kill in range(KILLS):
        if done.wait(draw.uniform(0.1, 0.6)):
            return kill
        apps.kill(draw.randrange(PROCESSES))
        if kill == KILLS // 2:
            server.stop()
            server.start()
    return KILLS


def test_of_2000_decisions_none_is_lost_and_none_is_there_twice(server: OwnPostgres) -> None:
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(server.url))
        _fill(store)
        apps = Apps(server.url)
        stack.callback(apps.close)
        done = threading.Event()
        pool = stack.enter_context(ThreadPoolExecutor(READERS + 1))
        stack.callback(done.set)
        trouble = pool.submit(_trouble, apps, server, done)
        working = [pool.submit(Reader(number, apps).work) for number in range(READERS)]
        readers = [future.result() for future in working]
        done.set()
        assert trouble.result() == KILLS
        rows = [row for n in range(CASES) for row in store.list_decisions(f"im-{n}")]
    acknowledged = {
        number: (reader.name, *said) for reader in readers for number, said in reader.saved.items()
    }
    assert len(acknowledged) == READERS * EACH
    kept = {row.id: (row.reader, row.case_id, row.action) for row in rows}
    assert kept == {number: said[:3] for number, said in acknowledged.items()}
    _check_that_nobody_overwrote(acknowledged)
    conflicts = [line for reader in readers for line in reader.conflicts]
    assert conflicts
    assert all("by 'reader " in line and " came after " in line for line in conflicts)
    assert sum(reader.sent_again for reader in readers) > 0


def _check_that_nobody_overwrote(acknowledged: dict[int, tuple[str, str, str, int]]) -> None:
    """Check that each reader had seen the decision before their own."""
    seen: dict[str, int] = defaultdict(int)
    for number, (_, case_id, _, version) in sorted(acknowledged.items()):
        assert version == seen[case_id]
        seen[case_id] = number


def test_a_decision_waits_for_a_server_that_restarts(server: OwnPostgres) -> None:
    with Store.open(server.url) as store:
        _fill_one(store)
        first = store.decide(Decision("im-0", None, "accept", "Ann", token="press-1"))
        server.stop()
        starter = threading.Timer(0.7, server.start)
        starter.start()
        second = store.decide(Decision("im-0", None, "reject", "Ann"), expected_version=first.id)
        starter.join()
        again = store.decide(Decision("im-0", None, "accept", "Ann", token="press-1"))
        assert again == first
        assert store.list_decisions("im-0") == [first, second]


def _fill_one(store: Store) -> None:
    run_id = store.start_run("scan", {}, model="d@1", model_sha256="")
    store.save_result(run_id, image_result("0", label="scratch"))
