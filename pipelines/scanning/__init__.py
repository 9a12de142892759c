"""The steps of a scan, one file each."""
