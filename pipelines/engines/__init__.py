"""Who scans the cases: this process, or workers of a dask cluster."""
