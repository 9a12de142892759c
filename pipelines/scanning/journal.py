"""The journal of a scan: each finished case is in it before the next one starts.

A scan that was killed reads it back and goes on with the rest. An entry counts
only while all that determines the result is unchanged; see `case_key`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from medvit import atomic
from medvit.errors import InputError
from medvit.findings.finding import CaseResult, Finding
from medvit.findings.nodule import NoduleDetail
from medvit.io.case import Case
from pipelines.one_at_a_time import holding

FOLDER = ".journal"
FORMAT = 6
"""Raise this when entries change their form or results change for another reason."""
LASTING_S = 1.0
"""A case that took longer is waited for until the disk has it. Others are with the system: a scan
that dies loses none, a power cut those of the last seconds, which are scanned again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished case with the pictures that the report shows of it.

    Attributes:
        pictures: Data URIs, by finding id or case id.
        details: What is told of nodules beside their findings, by finding id.
        features: What the head of an image classifier read; empty for all else.
    """

    result: CaseResult
    pictures: Mapping[str, str]
    details: Mapping[str, NoduleDetail] = field(default_factory=dict)
    features: tuple[float, ...] = ()


@contextlib.contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Keep a second scan out of a folder for as long as this process lives.

    Raises:
        InputError: If the folder cannot be used, or another scan is using it.
    """
    path = out / FOLDER / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        msg = f"the output folder {out} cannot be used: {error.strerror}"
        raise InputError(msg, hint="name a folder you may write to with --out") from error
    hint = "wait for it, or choose another --out"
    with stream, holding(stream, task="scan", place=f"writing to {out}", hint=hint):
        yield


def case_key(case: Case, **settings: object) -> str:
    """Return a hash of all that determines the result of a case.

    Args:
        settings: Versions, model hash and options that matter; JSON values.
    """
    files = [(str(path), *_stamp(path)) for path in sorted(case.files)]
    parts = {
        "format": FORMAT,
        "case": (case.case_id, case.kind, case.source, case.series_uid),
        "files": files,
        "settings": settings,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def tiles_folder(out: Path) -> Path:
    """Return where the finished tiles of unfinished cases are kept."""
    return out / FOLDER / "tiles"


class Journal:
    """Entries of one output folder."""

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER

    def find(self, case: Case, key: str) -> Entry | None:
        """Return the finished case if nothing that determines it has changed."""
        try:
            stored = json.loads(self._path(case).read_text(encoding="utf-8"))
            return entry_from(case, stored) if stored["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # missing, or not ours: the case is scanned again

    def entries(self) -> Iterator[Entry]:
        """Yield every finished case whose files are as they were, or are gone.

        With which model and settings it was scanned does not matter here.
        """
        for path in sorted(self._folder.glob("*.json")):
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                case = _case_from(stored["case"])
                is_there = any(file.exists() for file in case.files)
                if not is_there or stored["look"] == case_key(case):
                    yield entry_from(case, stored)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # not ours, or cut off: the case is scanned again

    def add(self, entry: Entry, key: str) -> None:
        """Write down a finished case.

        Raises:
            InputError: If the output folder is full or gone.
        """
        case = entry.result.case
        path = self._path(case)
        keys = {"key": key, "look": case_key(case), "case": _plain_case(case)}
        try:
            text = json.dumps({**keys, **plain_of(entry)})
            must_last = entry.result.seconds > LASTING_S
            atomic.write_bytes(path, text.encode(), must_last=must_last)
        except OSError as error:
            msg = f"{path} cannot be written: {error.strerror}"
            hint = "free some space; the same command goes on where this one stopped"
            raise InputError(msg, hint=hint) from error

    def _path(self, case: Case) -> Path:
        return self._folder / f"{case.case_id}.json"


def plain_of(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values; its case is left to whoever knows it."""
    return {
        "result": _plain_result(entry.result),
        "pictures": dict(entry.pictures),
        "details": {name: _plain(each) for name, each in entry.details.items()},
        "features": entry.features,
    }


def entry_from(case: Case, plain: dict[str, Any]) -> Entry:
    """Return the entry of a case from its JSON values, to the bit what it was.

    Raises:
        KeyError, TypeError: If they are not ours.
    """
    details = {name: NoduleDetail(**each) for name, each in plain["details"].items()}
    result, features = _result_from(case, plain["result"]), tuple(plain["features"])
    return Entry(result, plain["pictures"], details, features)


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change; zeros for a file that cannot be asked."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def _plain_case(case: Case) -> dict[str, Any]:
    return {**_plain(case), "root": str(case.root), "files": [str(file) for file in case.files]}


def _case_from(plain: dict[str, Any]) -> Case:
    files = tuple(Path(file) for file in plain["files"])
    return Case(**{**plain, "root": Path(plain["root"]), "files": files})


def _plain_result(result: CaseResult) -> dict[str, Any]:
    plain = _plain(result)
    del plain["case"]
    return {**plain, "findings": [_plain(finding) for finding in result.findings]}


def _plain(values: Case | CaseResult | Finding | NoduleDetail) -> dict[str, Any]:
    """Return the fields as they are; `asdict` would copy each value deeply."""
    return {each.name: getattr(values, each.name) for each in fields(values)}


def _result_from(case: Case, plain: dict[str, Any]) -> CaseResult:
    findings = tuple(Finding(**finding) for finding in plain["findings"])
    return CaseResult(**{**plain, "case": case, "findings": findings})
