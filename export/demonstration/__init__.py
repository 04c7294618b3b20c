"""The page of `export.demo`, and how it is served or written."""
