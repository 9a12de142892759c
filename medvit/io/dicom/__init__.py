"""DICOM: from bytes to judged series of slices."""
