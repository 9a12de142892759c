"""Each broken case is called by the name of its fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.data.broken import write_broken_cases
from medvit.errors import ReadError
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.readers import read_image
from medvit.io.triage import triage
from medvit.io.verdict import refused


def reasons_of(case: Case) -> set[str]:
    """Return what triage says, or what the reader says when triage finds nothing."""
    try:
        found = {each.code for each in triage(case).reasons}
        if found == {"ok"} and case.kind == "image":
            read_image(case)
    except ReadError as error:
        found = {each.code for each in refused(error).reasons}
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[set[str]]]]:
    folder = tmp_path_factory.mktemp("broken")
    wanted = {each.path.name: each.expected_reason for each in write_broken_cases(folder)}
    found: dict[str, list[set[str]]] = {name: [] for name in wanted}
    for case in discover(folder).cases:
        found[Path(case.source).parts[0]].append(reasons_of(case))
    return {name: (wanted[name], found[name]) for name in wanted}


def test_every_fault_is_a_case_and_gets_its_reason(
    judged: dict[str, tuple[str, list[set[str]]]],
) -> None:
    assert len(judged) == 15
    for name, (wanted, found) in judged.items():
        assert found, f"{name} is no case"
        assert all(wanted in codes for codes in found), f"{name}: {wanted} not in {found}"


def test_two_series_in_one_folder_are_two_cases(
    judged: dict[str, tuple[str, list[set[str]]]],
) -> None:
    assert judged["two_series"] == ("ok", [{"ok"}, {"ok"}])


def test_what_can_be_repaired_is_and_the_rest_is_refused(tmp_path: Path) -> None:
    write_broken_cases(tmp_path)
    verdicts: dict[str, set[str]] = {}
    for case in discover(tmp_path).cases:
        verdicts.setdefault(triage(case).verdict, set()).add(Path(case.source).parts[0])
    assert verdicts["repair"] == {"duplicate_positions", "gantry_tilt"}
    # Only decoding shows that an image is cut.
    assert verdicts["accept"] == {"two_series", "sixteen_bit.png", "cut.png"}


def test_broken_cases_are_small(tmp_path: Path) -> None:
    write_broken_cases(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1_000_000
