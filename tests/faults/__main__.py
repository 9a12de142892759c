"""Write every kind of broken series: `python -m tests.faults FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.faults.catalogue import ALL

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=Path)
root = parser.parse_args().folder
for fault in ALL:
    (root / fault.name).mkdir(parents=True)
    fault.write(root / fault.name)
