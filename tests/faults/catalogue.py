"""Every kind of fault by its name, and the table of them."""

from __future__ import annotations

from tests.faults.encoding import ENCODING
from tests.faults.files import FILES
from tests.faults.formats import FORMATS
from tests.faults.frames import FRAMES
from tests.faults.geometry import GEOMETRY
from tests.faults.kinds import KINDS
from tests.faults.order import ORDER
from tests.faults.truth import Fault
from tests.faults.values import VALUES

ALL = (*ORDER, *GEOMETRY, *VALUES, *KINDS, *ENCODING, *FRAMES, *FILES, *FORMATS)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in ALL}
