from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.faults.answers import medvit_answers
from tests.faults.catalogue import ALL, FAULTS
from tests.faults.scan import SCAN, SMOOTH
from tests.faults.table import DOCUMENT, fault_table
from tests.faults.truth import Answer, Fault, exact, problems_of, resampled

# Broken values are what these tests write; the libraries' words about them are expected.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

READ = ("ok",)


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_medvit_reads_or_refuses_rightly(fault: Fault, tmp_path: Path) -> None:
    fault.write(tmp_path)
    assert problems_of(fault, medvit_answers(tmp_path)) == []


def test_there_are_enough_kinds_and_each_is_named_once() -> None:
    assert len(FAULTS) == len(ALL) >= 40


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_every_fault_has_an_answer_that_is_right(fault: Fault) -> None:
    assert fault.must_read or fault.refuse
    assert fault.volumes() or not fault.must_read
    assert fault.wrong.endswith(".")


@pytest.mark.parametrize("name", ["sound", "jpeg_lossless", "nrrd_gzip", "names_odd"])
def test_a_fault_is_written_the_same_again(name: str, tmp_path: Path) -> None:
    seen = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        FAULTS[name].write(folder)
        paths = sorted(folder.rglob("*"))
        seen.append([(p.name, hashlib.sha256(p.read_bytes()).digest()) for p in paths])
    assert seen[0] == seen[1]


def test_a_right_volume_is_right_in_any_order_of_axes() -> None:
    affine, hu = SCAN.affine_lps(), SCAN.hu()
    truth = exact(SCAN)
    assert truth.problem_with(hu, affine) == ""
    turned = affine.copy()
    turned[:3, 3] += affine[:3, 0] * (len(hu) - 1)
    turned[:3, 0] *= -1
    order = [2, 1, 0, 3]
    assert truth.problem_with(hu[::-1].transpose(2, 1, 0), turned[:, order]) == ""


def test_wrong_volumes_are_found_out() -> None:
    affine, hu = SCAN.affine_lps(), SCAN.hu()
    truth = exact(SCAN)
    swapped = hu[[0, 2, 1, *range(3, 9)]]
    assert truth.problem_with(swapped, affine).startswith("values are off")
    wide = affine.copy()
    wide[:3, 0] *= 1.1
    assert truth.problem_with(hu, wide) == "voxels lie 1.250 mm beside the grid"
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 2]
    assert truth.problem_with(hu, moved) == "voxels lie outside the volume"
    assert truth.problem_with(hu[1:], affine) == "shape (8, 32, 40), not (9, 32, 40)"
    nothing = np.full(hu.shape, np.nan)
    assert truth.problem_with(nothing, affine).startswith("values are off")


def test_a_tenth_of_a_millimetre_shows_in_a_resampled_volume() -> None:
    truth = resampled(SMOOTH, tolerance_hu=1.5)
    affine = SMOOTH.affine_lps()
    assert truth.problem_with(SMOOTH.hu(), affine) == ""
    affine[1, 3] += 0.1
    assert truth.problem_with(SMOOTH.hu(), affine).startswith("values are off by up to 3.")
    assert truth.problem_with(SMOOTH.hu()[:5], SMOOTH.affine_lps()) == "56% of the volume covered"


def test_the_judge_wants_the_right_word() -> None:
    right = Answer(READ, SCAN.hu(), SCAN.affine_lps())
    assert problems_of(FAULTS["sound"], [right]) == []
    assert problems_of(FAULTS["sound"], [Answer(("not_ct",))]) == [
        "refused as not_ct",
        "1 sound volume(s) not read",
    ]
    assert problems_of(FAULTS["sound"], []) == ["1 sound volume(s) not read", "no case found"]
    assert problems_of(FAULTS["burned_in"], [right]) == ["read without a word of burned_in"]
    assert problems_of(FAULTS["mr"], [right]) == ["read, though nothing in it may be (read as ok)"]
    late = Answer(("truncated",), is_late=True)
    assert problems_of(FAULTS["pixels_cut"], [late]) == [
        "trusted, then refused as truncated on reading"
    ]


def test_the_page_says_what_the_suite_and_its_last_run_say(project: Path) -> None:
    results = project / "benchmarks" / "results" / "readers.json"
    sections = json.loads(results.read_text(encoding="utf-8"))["sections"]
    assert DOCUMENT.read_text(encoding="utf-8") == fault_table(sections)
