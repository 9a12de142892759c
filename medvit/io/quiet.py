"""Reading libraries are kept from talking: triage says what is wrong with a file, once.

Their warnings quote values of the file, and so perhaps a patient's.
"""

from __future__ import annotations

import logging
import warnings

LIBRARIES = ("pydicom", "PIL", "nibabel", "openjpeg")
"""What reads files here and warns about their content."""

_LOGGERS = ("pydicom", "PIL", "nibabel.global", "openjpeg.encode", "openjpeg.decode")


def silence_libraries() -> None:
    """Drop the warnings of the reading libraries; errors they raise stay errors."""
    for name in LIBRARIES:
        warnings.filterwarnings("ignore", module=rf"{name}(\..*)?$")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
