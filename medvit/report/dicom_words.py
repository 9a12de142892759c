"""What SR and SEG files say in words and codes: who made them, how, and what they are not for."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import medvit

NOT_A_DEVICE = "Research use only. Not a medical device. Not for diagnosis or treatment."
MAKER = "medvit"
SERIES_NUMBERS = {"sr": 9871, "seg": 9872, "agreed": 9873}
"""High, so that they hardly meet the numbers that a scanner gives."""

NODULE = Code("27925004", "SCT", "Nodule")
LUNG = Code("39607008", "SCT", "Lung")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
DIAMETER = Code("81827009", "SCT", "Diameter")
CERTAINTY = codes.DCM.CertaintyOfFinding
"""How sure a device is of a finding, 0 to 100 (PS3.16 Annex D, DCM 111012)."""

AI_FAMILY = codes.DCM.ArtificialIntelligence


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The model that looked for findings.

    Attributes:
        reference: `name@version`.
        min_probability: Marks below it are no findings.
        has_searched: False where no lungs were found, so that nothing was looked at.
    """

    reference: str
    min_probability: float
    has_searched: bool = True

    @property
    def name(self) -> str:
        """The algorithm as SR and SEG name it."""
        return f"{MAKER} {self.reference.partition('@')[0]}"

    @property
    def version(self) -> str:
        """Version of the model, and of the program that ran it."""
        return f"{self.reference.partition('@')[2] or 'unknown'} ({MAKER} {medvit.__version__})"

    @property
    def parameters(self) -> str:
        """What decides which marks become findings."""
        return f"least probability {self.min_probability:g}"
