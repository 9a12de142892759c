"""Where labels are kept and carried: decisions, DICOM reports, the queue of suspects."""
