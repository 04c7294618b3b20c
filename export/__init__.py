"""Programs that export and search: `python -m export.NAME`, from the root."""
