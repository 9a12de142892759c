from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.make.dicom import edit, write_series

JUDGE = """
import sys
from pathlib import Path
from medvit.io.discover import discover
from medvit.io.triage import triage
for case in discover(Path(sys.argv[1])).cases:
    print(triage(case).verdict)
"""


def test_libraries_do_not_quote_values_of_a_file(tmp_path: Path, project: Path) -> None:
    path = edit(write_series(tmp_path)[0])
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"1.2.840.10008.1.2.1\0", b"Secret^Person^Name\0\0", 1))
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path)],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "refuse\n"
    assert done.stderr == ""
