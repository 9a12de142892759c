"""Broken series read by medvit, MONAI and SimpleITK, each in a process of its own."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from tests.faults.catalogue import ALL, FAULTS  # noqa: E402
from tests.faults.truth import Fault, matches, problems_of  # noqa: E402

MAIN = Path(__file__).with_name("readers.py")
TIMEOUT_S = 60.0
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

Row = dict[str, Any]
Found = tuple[NDArray[Any], NDArray[np.float64]]


class NoReaderError(Exception):
    """A format that a rival reads with a package that is not here."""


# Readers: a folder in, arrays (z, y, x) and their LPS affines out.


def read_simpleitk(folder: Path) -> list[Found]:
    import SimpleITK as sitk  # noqa: N813

    volume = volume_file(folder)
    if volume is not None:
        return _of_itk(sitk, sitk.ReadImage(str(volume)))
    reader = sitk.ImageSeriesReader()
    series = reader.GetGDCMSeriesIDs(str(folder))
    if not series:
        msg = "no series found"
        raise ValueError(msg)
    names = max((reader.GetGDCMSeriesFileNames(str(folder), uid) for uid in series), key=len)
    if len(names) == 1:
        return _of_itk(sitk, sitk.ReadImage(names[0]))
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOff()
    return _of_itk(sitk, reader.Execute())


def _of_itk(sitk: Any, image: Any) -> list[Found]:
    """Turn an image of ITK; of four axes, every volume of it."""
    axes = image.GetDimension()
    values = sitk.GetArrayFromImage(image)
    steps = np.reshape(image.GetDirection(), (axes, axes)) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = steps[:3, :3][:, ::-1]
    affine[:3, 3] = image.GetOrigin()[:3]
    return [(part, affine) for part in values] if axes == 4 else [(values, affine)]


def read_monai(folder: Path) -> list[Found]:
    return _of_monai(folder, "PydicomReader")


def read_monai_itk(folder: Path) -> list[Found]:
    return _of_monai(folder, "ITKReader")


def _of_monai(folder: Path, reader: str) -> list[Found]:
    """Read with MONAI, whose arrays are `(x, y, z)` and whose affines are RAS."""
    from monai import transforms

    steps: Any = transforms
    volume = volume_file(folder)
    if volume is not None and reader == "PydicomReader":
        if not volume.name.endswith((".nii", ".nii.gz")):
            raise NoReaderError(volume.suffix)
        image = steps.LoadImage(reader="NibabelReader", image_only=True)(volume)
    else:
        image = steps.LoadImage(reader=reader, image_only=True)(volume or folder)
    ras = np.array(image.affine, dtype=np.float64)
    affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras)[:, [2, 1, 0, 3]]
    values = image.numpy()
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim == 4:
        return [(values[..., time].transpose(2, 1, 0), affine) for time in range(values.shape[3])]
    return [(values.transpose(2, 1, 0), affine)]


def volume_file(folder: Path) -> Path | None:
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(VOLUME_SUFFIXES))
    return paths[0] if paths else None


RIVALS: dict[str, Callable[[Path], list[Found]]] = {
    "MONAI PydicomReader": read_monai,
    "MONAI ITKReader": read_monai_itk,
    "SimpleITK": read_simpleitk,
}
OURS = "medvit"


def installed_readers() -> list[str]:
    from importlib.util import find_spec

    needs = {"MONAI PydicomReader": "monai", "MONAI ITKReader": "itk", "SimpleITK": "SimpleITK"}
    absent = [name for name, package in needs.items() if find_spec(package) is None]
    for name in absent:
        print(f"left out: {name} (pip install {needs[name]})")
    return [OURS, *(name for name in RIVALS if name not in absent)]


# Faults: one worker a reader; a row for each fault.


def judge_ours(fault: Fault, folder: Path) -> tuple[str, str]:
    from tests.faults.answers import medvit_answers

    answers = medvit_answers(folder)
    problems = problems_of(fault, answers)
    if not problems:
        is_read = any(answer.hu is not None for answer in answers) and bool(fault.volumes())
        codes = sorted({code for answer in answers for code in answer.codes} - {"ok"})
        return "right" if is_read else "refused", ", ".join(codes)
    wrong = any(answer.hu is not None for answer in answers)
    return "wrong" if wrong else "unread", "; ".join(problems)


def judge_rival(
    name: str, fault: Fault, folder: Path, unheeded: Collection[str] = ()
) -> tuple[str, str]:
    """Judge by what comes out alone: no reason is asked of a rival, an error will do.

    Args:
        unheeded: Warnings that it also gives for a sound series, so about other things.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with standard_error() as words:
            try:
                found = RIVALS[name](folder)
            except NoReaderError as error:
                return "not asked", f"no reader for {error}"
            except Exception as error:
                first = f"{type(error).__name__}: {error}".strip().splitlines()[0][:160]
                return "unread" if fault.must_read else "refused", first
    if fault.asks_for_ct:
        return "not asked", "a sound image, but no CT in HU"
    problems = [matches(fault.volumes(), hu, affine) for hu, affine in found]
    if not any(problems):
        return "right", ""
    said = [str(w.message) for w in caught if not issubclass(w.category, _OWN_AFFAIRS)]
    said = [message for message in said + words if message not in unheeded]
    problem = next(filter(None, problems))
    return ("warned" if said else "wrong"), problem + (f" ({said[0][:120]})" if said else "")


_ADDRESS = re.compile(r" ?\(?0x[0-9a-f]{6,}\)?|(?<!\S)/\S*/(?=\w+\.(?:h|hxx|cxx):)")
_OWN_AFFAIRS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)


@contextmanager
def standard_error() -> Iterator[list[str]]:
    """Collect what libraries in C++ write to standard error."""
    lines: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            lines += [line for line in text.splitlines() if line and "WARNING: In" not in line]


def words_for_nothing(name: str, folder: Path) -> set[str]:
    """Return what a rival warns of when it reads a sound series."""
    with warnings.catch_warnings(record=True) as caught, standard_error() as words:
        warnings.simplefilter("always")
        RIVALS[name](folder)
    return {*map(str, (warning.message for warning in caught)), *words}


def work(reader: str, root: Path, names: Sequence[str]) -> None:
    """Judge faults one by one, in a worker process; a JSON line each."""
    unheeded = words_for_nothing(reader, root / "sound") if reader != OURS else set()
    for name in names:
        fault, folder = FAULTS[name], root / name
        try:
            if reader == OURS:
                row = judge_ours(fault, folder)
            else:
                row = judge_rival(reader, fault, folder, unheeded)
        except Exception as error:
            row = ("crashed", f"{type(error).__name__}: {error}"[:160])
        print(json.dumps([name, *row]), flush=True)


def answers_of(reader: str, root: Path) -> dict[str, tuple[str, str]]:
    """Run workers until every fault has its row; one that dies or hangs names its fault."""
    rows: dict[str, tuple[str, str]] = {}
    while left := [name for name in FAULTS if name not in rows]:
        command = [sys.executable, str(MAIN), "--worker", reader, "--folder", str(root)]
        with subprocess.Popen(
            [*command, "--names", *left], stdout=subprocess.PIPE, text=True
        ) as worker:
            before = len(rows)
            for name, outcome, detail in _lines_of(worker):
                rows[name] = (outcome, _ADDRESS.sub("", detail.replace(f"{root}/", "")))
            code = worker.poll()
        if len(rows) == before or (code and len(rows) < len(FAULTS)):
            stuck = next(name for name in FAULTS if name not in rows)
            rows[stuck] = ("crashed", "no answer in time" if code is None else f"exit {code}")
    return rows


def _lines_of(worker: subprocess.Popen[str]) -> Iterator[list[str]]:
    lines: queue.Queue[str] = queue.Queue()

    def pump() -> None:
        for line in worker.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=pump, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=TIMEOUT_S)
        except queue.Empty:
            worker.kill()
            return
        if not line:
            worker.wait()
            return
        if line.startswith("["):
            yield json.loads(line)


def measure_faults() -> tuple[list[Claim], Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for fault in ALL:
            (root / fault.name).mkdir()
            fault.write(root / fault.name)
        answers = {reader: answers_of(reader, root) for reader in installed_readers()}
    counts = {
        reader: dict(Counter(o for o, _ in rows.values())) for reader, rows in answers.items()
    }
    for reader, count in counts.items():
        print(f"{reader}: {count}")
    claims = []
    for rival in [reader for reader in answers if reader != OURS]:
        claims += _fault_claims(rival, counts)
    return claims, {"kinds": len(ALL), "counts": counts, "answers": answers}


def _fault_claims(rival: str, counts: dict[str, dict[str, int]]) -> list[Claim]:
    """Return claims over the kinds that a rival was asked about, which are fewer than ours."""

    def of(reader: str, outcomes: Sequence[str]) -> int:
        return sum(counts[reader].get(outcome, 0) for outcome in outcomes)

    asked = len(ALL) - of(rival, ["not asked"])
    good, silent = ("right", "refused"), ("wrong", "crashed")
    name = f"kinds read rightly, or refused with the right reason, of {len(ALL)}"
    return [
        Claim(
            name,
            of(OURS, good),
            f"kinds ({asked} asked of the rival)",
            rival,
            of(rival, good),
            len(ALL),
        ),
        Claim(
            "kinds read wrongly without a word, or crashed",
            of(OURS, silent),
            "kinds",
            rival,
            of(rival, silent),
            0,
            larger_is_better=False,
        ),
    ]
