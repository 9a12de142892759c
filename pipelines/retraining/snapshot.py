"""The labels of this moment as a version of a data set.

Decisions -> opinions -> what readers agree on -> groups -> splits -> files with hashes.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from medvit import atomic
from medvit.errors import InputError, NothingToDoError, ReadError
from medvit.io.case import Kind
from medvit.labels.cases import Dispute, SettledCase, settle_case, votes_of
from medvit.labels.consensus import Method, reader_skills
from medvit.labels.dataset import DatasetVersion, Sample, newest_dataset, write_dataset
from medvit.labels.frozen import Placed, Split, choose_splits
from medvit.registry.lineage import Seen, image_mark, mark_of
from medvit.store.decided import decided_cases
from medvit.store.rows import CaseRow
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retraining.imported import read_imported
from pipelines.retraining.opinions import reviewed_case

Task = Literal["defect", "nodule"]
KIND_OF_TASK: Mapping[Task, Kind] = {"defect": "image", "nodule": "ct"}
Progress = Callable[[float, float, str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version, and what did not get into it.

    Attributes:
        version: The newest one, when nothing differs from it.
        disputes: What readers do not agree on.
        left_out: Sentences on cases that have a label and could not be used.
    """

    version: DatasetVersion
    disputes: tuple[Dispute, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Labelled:
    case: CaseRow
    settled: SettledCase
    path: str
    content: str


def home_of(workspace: Workspace, task: Task) -> Path:
    """Return the folder of all versions of a task's data set."""
    return workspace.folder / "datasets" / task


def take_snapshot(
    workspace: Workspace,
    store: Store,
    task: Task,
    *,
    now: datetime,
    consensus: Method = "weighted",
    learnt: Seen | None = None,
) -> Snapshot:
    """Write what the readers agree on as a version of the task's data set.

    Args:
        workspace: Holds the versions.
        store: Holds the decisions.
        task: Of which cases.
        now: Written beside the version.
        consensus: How readers are weighed.
        learnt: What the champion was trained on: it is never frozen.

    Raises:
        NothingToDoError: If no decision gives a label.
        InputError: If the disk is full.
    """
    home = home_of(workspace, task)
    decided = list(decided_cases(store, KIND_OF_TASK[task]))
    reviewed = [reviewed_case(each) for each in decided]
    skills = reader_skills(votes_of(reviewed))
    settled = [settle_case(each, skills, method=consensus) for each in reviewed]
    disputes = [dispute for each in settled for dispute in each.disputes]
    pairs = [(d.case, s) for d, s in zip(decided, settled, strict=True) if s.is_labelled]
    keep = _keep_images if task == "defect" else _name_scans
    labelled, left_out = keep(home, pairs)
    labelled, contradictions = _without_contradictions(labelled)
    disputes += contradictions
    if not labelled:
        msg = f"no decision gives a label for {task}: {len(decided)} cases were decided about"
        told = f"; {disputes[0].reason}" if disputes else ""
        raise NothingToDoError(msg + told, hint="accept or relabel findings in `medvit app`")
    samples = _split(home, labelled, learnt=learnt or Seen())
    used = {sample.case_id for sample in samples}
    sources = [row for each in settled if each.case_id in used for row in each.sources]
    version = write_dataset(home, task, samples, sources, now=now)
    for sentence in left_out:
        _log.warning("%s", sentence)
    return Snapshot(version, tuple(disputes), tuple(left_out))


def _keep_images(
    home: Path, pairs: Sequence[tuple[CaseRow, SettledCase]]
) -> tuple[list[_Labelled], list[str]]:
    """Copy each image under its hash, so that a version is whole whatever becomes of the source."""
    kept = home / "images"
    labelled, left_out = [], []
    for case, settled in pairs:
        try:
            content = case.files[0].read_bytes()
        except OSError as error:
            left_out.append(f"{case.source}: its label cannot be used ({error.strerror})")
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{sha256[:32]}{case.files[0].suffix.lower()}"
        if not (kept / name).is_file():
            _keep(kept / name, content)
        labelled.append(_Labelled(case, settled, f"../images/{name}", sha256))
    return labelled, left_out


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, content, must_last=False)
    except OSError as error:
        msg = f"{path.parent}: an image cannot be kept ({error.strerror})"
        raise InputError(msg, hint="free some space; nothing was changed") from error


def _name_scans(
    home: Path, pairs: Sequence[tuple[CaseRow, SettledCase]]
) -> tuple[list[_Labelled], list[str]]:
    del home  # scans are large: they stay where they are, and their fingerprint is kept
    labelled, left_out = [], []
    for case, settled in pairs:
        if all(path.exists() for path in case.files):
            where = str(case.root / case.source)
            labelled.append(_Labelled(case, settled, where, case.case_id))
        else:
            left_out.append(f"{case.source}: its label cannot be used (no such file or directory)")
    return labelled, left_out


def _without_contradictions(
    labelled: Sequence[_Labelled],
) -> tuple[list[_Labelled], list[Dispute]]:
    """Keep one case of each content; where the same image has two labels, keep none."""
    by_content: dict[str, list[_Labelled]] = defaultdict(list)
    for each in labelled:
        by_content[each.content].append(each)
    kept, disputes = [], []
    for same in by_content.values():
        labels = [each.settled.label for each in same if each.settled.label]
        if len({*labels}) > 1:
            votes = {label: labels.count(label) for label in sorted({*labels})}
            disputes += [Dispute(each.case.case_id, "", votes, 0.5) for each in same]
        else:
            kept.append(next((each for each in same if each.settled.label), same[0]))
    return kept, disputes


def _split(home: Path, labelled: Sequence[_Labelled], *, learnt: Seen) -> list[Sample]:
    before = newest_dataset(home)
    seen = {} if before is None else before.seen
    imported = read_imported(home)
    places: dict[str, tuple[str, str]] = {}
    for each in labelled:
        own = imported.get(each.case.case_id, ("", ""))
        old = seen.get(each.content, ("", ""))
        split = old[0] or own[0] or _learnt_split(home, each, learnt)
        places[each.path] = (split, old[1] or own[1])
    groups = _groups(home, labelled, {path: group for path, (_, group) in places.items()})
    placed = [
        Placed(
            each.path,
            each.settled.label,
            groups[each.path],
            cast("Split", places[each.path][0]) or None,
        )
        for each in labelled
    ]
    splits = choose_splits(placed)
    return [
        Sample(
            case_id=each.case.case_id,
            path=each.path,
            label=each.settled.label,
            split=splits[each.path],
            group=groups[each.path],
            content=each.content,
            marks=each.settled.marks,
            scan=_scan_of(each.case),
        )
        for each in sorted(labelled, key=lambda each: each.path)
    ]


def _learnt_split(home: Path, each: _Labelled, learnt: Seen) -> str:
    """Return `train` for a case that the champion was trained on, else nothing."""
    if not learnt.cases:
        return ""
    try:
        if each.case.kind == "ct":
            mark = mark_of(each.case.series_uid or each.case.case_id)
        else:
            mark = image_mark(home / "images" / each.path)
    except ReadError:
        return ""  # what cannot be decoded was not trained on
    return "train" if mark in learnt.cases else ""


def _scan_of(case: CaseRow) -> dict[str, Any]:
    if case.kind == "image":
        return {}
    return {
        "name": case.series_uid or case.case_id,
        "root": str(case.root),
        "source": case.source,
        "files": [str(file) for file in case.files],
        "series_uid": case.series_uid,
    }


def _groups(home: Path, labelled: Sequence[_Labelled], known: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each case: what it was before, joined with what it overlaps."""
    from medvit.data.duplicates.groups import connected

    own = {each.path: known[each.path] or each.content[:16] for each in labelled}
    if labelled[0].case.kind == "ct":
        return {path: known[path] or group for path, group in _patients(labelled).items()}
    fresh = {path for path in own if not known[path]}
    pairs = _overlaps(home, list(own), fresh)
    names = sorted({*own.values()})
    joined = connected(names, [(own[one], own[two]) for one, two in pairs])
    return {path: joined[group] for path, group in own.items()}


def _overlaps(home: Path, paths: Sequence[str], fresh: set[str]) -> list[tuple[str, str]]:
    from medvit.data.duplicates.search import find_duplicates
    from medvit.data.duplicates.surfaces import read_surfaces

    if not fresh or len(paths) < 2:
        return []
    surfaces, _ = read_surfaces(home / "images", paths)
    return [(each.first, each.second) for each in find_duplicates(surfaces, fresh=fresh)]


def _patients(labelled: Sequence[_Labelled]) -> dict[str, str]:
    from medvit.data.annotations.collected import patients_of
    from medvit.io.case import Case

    cases = {
        each.path: Case(
            each.case.case_id,
            each.case.kind,
            each.case.source,
            each.case.root,
            each.case.files,
            each.case.series_uid,
        )
        for each in labelled
    }
    patients = patients_of(cases)
    return {each.path: patients.get(each.path, each.content) for each in labelled}


def find_disputes(store: Store, kind: Kind, *, consensus: Method = "weighted") -> list[Dispute]:
    """Return what the readers of a kind of cases do not agree on."""
    reviewed = [reviewed_case(each) for each in decided_cases(store, kind)]
    skills = reader_skills(votes_of(reviewed))
    settled = [settle_case(each, skills, method=consensus) for each in reviewed]
    return [dispute for each in settled for dispute in each.disputes]


def worst_of_each_case(disputes: Sequence[Dispute]) -> tuple[Dispute, ...]:
    """Return one dispute a case, the least sure one."""
    worst: dict[str, Dispute] = {}
    for dispute in disputes:
        before = worst.get(dispute.case_id)
        if before is None or dispute.confidence < before.confidence:
            worst[dispute.case_id] = dispute
    return tuple(worst.values())
