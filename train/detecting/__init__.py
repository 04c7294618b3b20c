"""Parts of the programs that train detectors and compare ways to do it."""
