"""Readers side by side: broken series, the header pass over a folder, and one box of a volume.

`faults`: every kind of tests/faults, read by medvit, MONAI and SimpleITK, each in a process
of its own that is started again when it dies. `headers`: 10,000 DICOM files in folders of
one series, beside GDCM's series reader. `box`: 64x64x64 voxels out of 1 GB, beside SimpleITK
and nibabel. The rivals need SimpleITK and MONAI: pip install SimpleITK monai.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from claims import RESULTS, Claim, write_claims
from reader_faults import Row, measure_faults, work
from reader_speed import PIECES, measure_box, measure_headers

from tests.faults.table import DOCUMENT, fault_table

ROUNDS = 3


def measure(name: str, folder: Path) -> Row:
    """Run one piece in a process of its own, imports done before its clock starts."""
    command = [sys.executable, __file__, "--piece", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{name}: exit {done.returncode}: {done.stderr[-600:]}"
        raise RuntimeError(msg)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


SECTIONS: dict[str, Callable[[argparse.Namespace], tuple[list[Claim], Row]]] = {
    "faults": lambda _: measure_faults(),
    "headers": lambda given: measure_headers(
        files=given.files, rounds=given.rounds, measure=measure
    ),
    "box": lambda given: measure_box(slices=given.slices, measure=measure),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all when none")
    parser.add_argument("--files", type=int, default=10_000, help="of the header pass")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="warm header passes")
    parser.add_argument("--slices", type=int, default=2000, help="of the volume: 2000 are 1 GB")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--names", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--piece", choices=PIECES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        work(given.worker, given.folder, given.names)
    elif given.piece:
        print(json.dumps(PIECES[given.piece](given.folder)))
    else:
        write_sections(given)


def write_sections(given: argparse.Namespace) -> None:
    """Measure the sections asked for; the others keep what was measured before."""
    path = RESULTS / "readers.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["sections"] if path.exists() else {}
    for name in given.sections or SECTIONS:
        claims, figures = SECTIONS[name](given)
        kept[name] = {"claims": [asdict(claim) for claim in claims], "figures": figures}
    claims = [Claim(**row) for name in SECTIONS if name in kept for row in kept[name]["claims"]]
    write_claims("readers", claims, sections=kept)
    DOCUMENT.write_text(fault_table(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
