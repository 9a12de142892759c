"""Labels made elsewhere become a reader's decisions in the store; what readers agree on comes out.

What a reader said before is not said again, so the same import twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medvit.data.labels.label_set import Box, ImageLabels, LabelSet, Problem
from medvit.data.manifest import ManifestRow
from medvit.errors import NothingToDoError
from medvit.findings.agreed import AgreedNodule
from medvit.findings.finding import CaseResult
from medvit.io.case import Case, Kind
from medvit.io.discover import case_id_of, file_fingerprint
from medvit.io.triage import triage
from medvit.labels.agreed import agreed_nodules
from medvit.labels.cases import SettledCase, settle_case, votes_of
from medvit.labels.consensus import reader_skills
from medvit.labels.opinions import ReviewedCase
from medvit.labels.places import BOX
from medvit.store.decided import decided_cases
from medvit.store.review import standing_decisions
from medvit.store.rows import CaseFilter, CaseRow, Decision, DecisionRow
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retraining.imported import add_imported
from pipelines.retraining.opinions import reviewed_case
from pipelines.retraining.snapshot import home_of

if TYPE_CHECKING:
    from medvit.data.annotations.collected import Collected

COMMAND = "labels import"
PAGE = 500
NODULE = "nodule"

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True)
class Entered:
    """What an import wrote into the store.

    Attributes:
        cases: That were not there before.
        decisions: That the reader had not made before.
    """

    cases: int
    decisions: int


def enter_images(
    labels: LabelSet, workspace: Workspace, *, reader: str, progress: Progress | None = None
) -> Entered:
    """Write labels and boxes of images as decisions; remember their splits and groups.

    Raises:
        StoreError: If the store fails, or a label or the reader's name breaks its rules.
    """
    here = [
        image
        for image in labels.images
        if (image.row.label or image.boxes) and (labels.root / image.row.path).is_file()
    ]
    workspace.prepare()
    with Store.open(workspace.store_url) as store:
        entering = _Entering(store, reader, "image")
        places = {}
        for number, image in enumerate(here):
            if progress is not None:
                progress(number, len(here), image.row.path)
            case = _image_case(labels.root.absolute(), image.row.path)
            case_id = entering.case_id(case)
            places[case_id] = (image.row.split, image.row.group)
            entering.decide(case_id, _image_decisions(case_id, image, reader))
        add_imported(home_of(workspace, "defect"), places)
        return entering.finish()


def enter_scans(
    collected: Collected, workspace: Workspace, *, reader: str, progress: Progress | None = None
) -> Entered:
    """Write nodules of scans as findings that the reader added; patients become groups.

    What counts neither way is added and left as unsure.

    Raises:
        StoreError: As `enter_images`.
    """
    workspace.prepare()
    with Store.open(workspace.store_url) as store:
        entering = _Entering(store, reader, "ct")
        places = {}
        for number, (name, case) in enumerate(collected.cases.items()):
            if progress is not None:
                progress(number, len(collected.cases), name)
            case_id = entering.case_id(case)
            places[case_id] = ("", collected.patients.get(name, ""))
            spheres = [mark.xyzd_mm for mark in collected.nodules if mark.scan == name]
            entering.decide(case_id, [_sphere(case_id, each, reader) for each in spheres])
            for mark in (each for each in collected.ignored if each.scan == name):
                entering.leave_open(case_id, _sphere(case_id, mark.xyzd_mm, reader))
        add_imported(home_of(workspace, "nodule"), places)
        return entering.finish()


class _Entering:
    """An import on its way: which cases are there, and what was written."""

    def __init__(self, store: Store, reader: str, kind: Kind) -> None:
        self.store = store
        self.reader = reader
        self.known = {_key(case): case.case_id for case in _all_cases(store, kind)}
        self.run_id = 0
        self.cases = 0
        self.decisions = 0

    def case_id(self, case: Case) -> str:
        """Return the id of a case in the store, which is put there unless it is."""
        known = self.known.get(_key(case))
        if known is not None:
            return known
        if not self.run_id:
            settings = {"reader": self.reader}
            self.run_id = self.store.start_run(COMMAND, settings, model="", model_sha256="")
        judged = triage(case)
        codes = ";".join(dict.fromkeys(reason.code for reason in judged.reasons)) or "ok"
        told = " ".join(reason.message for reason in judged.reasons)
        result = CaseResult(case, judged.verdict, codes, told, "", None, (), 0.0, 0.0)
        self.store.save_result(self.run_id, result)
        self.known[_key(case)] = case.case_id
        self.cases += 1
        return case.case_id

    def decide(self, case_id: str, wanted: Iterable[Decision]) -> None:
        """Make the decisions that do not stand already."""
        rows = self._standing(case_id)
        last = [row for row in rows if row.finding_id is None][-1:]
        before = [row for row in rows if row.finding_id is not None] + last
        for decision in wanted:
            if not any(_is_same(decision, row) for row in before):
                self.store.decide(decision)
                self.decisions += 1

    def leave_open(self, case_id: str, addition: Decision) -> None:
        """Add a finding that counts neither way, unless it is there."""
        if any(_is_same(addition, row) for row in self._standing(case_id)):
            return
        row = self.store.decide(addition)
        self.store.decide(Decision(case_id, row.finding_id, "unsure", self.reader))
        self.decisions += 2

    def finish(self) -> Entered:
        """Close the run, and return what was written."""
        if self.run_id:
            self.store.finish_run(self.run_id, "done", {"cases": self.cases})
        return Entered(self.cases, self.decisions)

    def _standing(self, case_id: str) -> list[DecisionRow]:
        rows = standing_decisions(self.store.list_decisions(case_id))
        return [row for row in rows if row.reader == self.reader]


def settled_images(workspace: Workspace) -> LabelSet:
    """Return the labels and boxes that the readers of the store agree on; paths are absolute.

    Raises:
        NothingToDoError: If there are none.
    """
    from medvit.errors import ReadError
    from medvit.io.images.raster import inspect_image

    images, problems = [], []
    for case, settled in _settled(workspace, "image"):
        try:
            look = inspect_image(case.files[0])
        except ReadError as error:
            problems.append(Problem(case.source, error.message))
            continue
        boxes = tuple(
            Box(mark.label, *(float(mark.geometry[name]) for name in BOX))
            for mark in settled.marks
            if mark.standing == "is" and mark.geometry is not None
        )
        row = ManifestRow(str(case.files[0]), settled.label, "", "")
        images.append(ImageLabels(row, boxes, (look.width, look.height)))
    if not images:
        raise _nothing(what="image", or_else="name labels with --from")
    images.sort(key=lambda each: each.row.path)
    return LabelSet(Path("/"), tuple(images), tuple(problems))


def settled_nodules(workspace: Workspace) -> list[tuple[str, float, float, float, float]]:
    """Return series, centre in LPS mm and diameter of each nodule that readers agree on.

    Raises:
        NothingToDoError: If there is none.
    """
    rows = [
        (case.series_uid or case.case_id, *each.centre_lps_mm, each.diameter_mm)
        for case, nodules in settled_scans(workspace)
        for each in nodules
    ]
    return sorted(rows)


def settled_scans(workspace: Workspace) -> list[tuple[CaseRow, tuple[AgreedNodule, ...]]]:
    """Return every CT that readers decided about, with the nodules that they agree on.

    Raises:
        NothingToDoError: If they agree on no nodule of any CT.
    """
    scans = [
        (case, agreed_nodules(reviewed, settled))
        for case, reviewed, settled in _decided(workspace, "ct")
    ]
    if not any(nodules for _, nodules in scans):
        raise _nothing(what="nodule", or_else="enter labels with `medvit labels import`")
    return scans


def _settled(workspace: Workspace, kind: Kind) -> list[tuple[CaseRow, SettledCase]]:
    return [(case, done) for case, _, done in _decided(workspace, kind) if done.is_labelled]


def _decided(workspace: Workspace, kind: Kind) -> list[tuple[CaseRow, ReviewedCase, SettledCase]]:
    with Store.open(workspace.store_url) as store:
        decided = list(decided_cases(store, kind))
    reviewed = [reviewed_case(each) for each in decided]
    skills = reader_skills(votes_of(reviewed))
    return [
        (told.case, each, settle_case(each, skills))
        for told, each in zip(decided, reviewed, strict=True)
    ]


def _nothing(*, what: str, or_else: str) -> NothingToDoError:
    msg = f"the store holds no {what} that readers agree on"
    return NothingToDoError(msg, hint=f"review in `medvit app`, or {or_else}")


def _all_cases(store: Store, kind: Kind) -> Iterable[CaseRow]:
    offset = 0
    while True:
        rows, total = store.list_cases(CaseFilter(kind=kind), limit=PAGE, offset=offset)
        yield from rows
        offset += PAGE
        if offset >= total:
            return


def _key(case: Case | CaseRow) -> str:
    """Return what tells cases apart, wherever their folder was opened."""
    return case.series_uid or str(case.files[0].resolve())


def _image_case(root: Path, path: str) -> Case:
    file = root / path
    case_id = case_id_of("image", path, file_fingerprint(file))
    return Case(case_id, "image", path, root, (file,))


def _image_decisions(case_id: str, image: ImageLabels, reader: str) -> Sequence[Decision]:
    decisions = [
        Decision(case_id, None, "add", reader, label=box.label, geometry=_pixels(box))
        for box in image.boxes
    ]
    if image.row.label:
        decisions.append(Decision(case_id, None, "relabel", reader, label=image.row.label))
    return decisions


def _pixels(box: Box) -> dict[str, float]:
    """Return the whole pixels that a box touches; at least one."""
    x_min, y_min = max(0, round(box.x_min)), max(0, round(box.y_min))
    x_max, y_max = max(x_min + 1, round(box.x_max)), max(y_min + 1, round(box.y_max))
    return {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}


def _sphere(case_id: str, xyzd_mm: tuple[float, float, float, float], reader: str) -> Decision:
    names = ("x_mm", "y_mm", "z_mm", "diameter_mm")
    geometry = {name: float(value) for name, value in zip(names, xyzd_mm, strict=True)}
    return Decision(case_id, None, "add", reader, label=NODULE, geometry=geometry)


def _is_same(decision: Decision, row: DecisionRow) -> bool:
    """Whether a decision that stands says the same; an added finding got an id from the store."""
    if (decision.action, decision.label) != (row.action, row.label):
        return False
    given, there = decision.geometry or {}, row.geometry or {}
    return dict(given) == dict(there)
