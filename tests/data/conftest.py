import importlib

import pytest

from keras_distill import data
from keras_distill.data import cache_embeddings
from keras_distill.data.resumable_rows import ResumableRows
from tests.data.counting_teacher import IMAGES, VIEWS, make_teacher


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


@pytest.fixture(scope="session")
def finished_cache(tmp_path_factory):
    """A teacher, and the folder of its cache, not to be written to."""
    teacher, folder = make_teacher(), tmp_path_factory.mktemp("cache") / "owl"
    cache_embeddings(teacher, IMAGES, folder, VIEWS, batch_size=7)
    return teacher, folder


@pytest.fixture
def interrupted_cache(monkeypatch):
    """Makes a cache until Ctrl-C comes with so many blocks written."""

    def until(blocks, *args, **kwargs):
        left = [blocks]
        append = ResumableRows.append

        def appended(self, block):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            append(self, block)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ResumableRows, "append", appended)
            cache_embeddings(*args, **kwargs)

    return until
