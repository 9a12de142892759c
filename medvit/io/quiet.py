"""Libraries that read and write files are kept from talking: triage says what is wrong, once.

Their warnings quote values of the file, and so perhaps a patient's.
"""

from __future__ import annotations

import logging
import warnings

LIBRARIES = ("pydicom", "PIL", "nibabel", "openjpeg", "highdicom")
"""What reads or writes files here and warns about their content."""

_LOGGERS = (
    "pydicom",
    "PIL",
    "nibabel.global",
    "openjpeg.encode",
    "openjpeg.decode",
    "highdicom",
    "tifffile",
)


def silence_libraries() -> None:
    """Drop the warnings of the reading libraries; errors they raise stay errors."""
    for name in LIBRARIES:
        warnings.filterwarnings("ignore", module=rf"{name}(\..*)?$")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
