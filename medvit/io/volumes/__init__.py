"""Volumes in files of their own: NIfTI, MetaImage, NRRD, OME-Zarr."""
