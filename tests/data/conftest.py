import importlib

import pytest

from keras_distill import data


@pytest.fixture(scope="session")
def all_glyphs():
    """Every glyph at 32 pixels: drawn once for all runs, then read from the cache."""
    return data.glyphs(32)


@pytest.fixture
def few_fonts(monkeypatch, tmp_path):
    """The six small text fonts instead of all, and a cache of their own."""
    # The package's attribute of that name is the function, not the module.
    module = importlib.import_module("keras_distill.data.glyphs")
    names = {"cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"}
    files = [path for path in module.font_files() if path.stem in names]
    monkeypatch.setattr(module, "font_files", lambda: files)
    monkeypatch.setenv("KERAS_DISTILL_CACHE", str(tmp_path / "cache"))
    return module
