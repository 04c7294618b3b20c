"""`Bundle.thumbnail`: what a search has found, to look at."""

import json
import shutil

import numpy as np
import pytest

from keras_distill import device
from keras_distill.data import ImageSet
from keras_distill.device.manifest import file_facts
from keras_distill.device.thumbnails import Thumbnails
from keras_distill.retrieval.thumbnails import thumbnails as thumbnails_of
from keras_distill.retrieval.thumbnails import write_thumbnails
from tests import tiny_embedder

SHEET = "thumbnails/0000.png"


@pytest.fixture
def changed(tmp_path):
    """A bundle whose manifest says something else of its thumbnails."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_embedder.bundle(), folder)

    def change(**fields):
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["thumbnails"].update(fields)
        if (folder / SHEET).is_file():
            manifest["files"][SHEET] = file_facts(folder / SHEET)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return device.open_bundle(folder)

    return change, folder


def test_each_is_the_picture_of_its_row():
    bundle = device.open_bundle(tiny_embedder.bundle())
    images = tiny_embedder.images()[0]
    order = [tiny_embedder.catalogue().ids.index(name) for name in bundle.ids]
    for row in (0, 31, 32, 119):  # the first line of a sheet has 32
        np.testing.assert_array_equal(
            bundle.thumbnail(row), images[order[row], ..., 0], strict=True
        )


def test_colours_and_several_sheets(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1030, 4, 6, 3), np.uint8)
    images = ImageSet(pixels, np.zeros(1030), ["noise"])
    facts = write_thumbnails(tmp_path, thumbnails_of(images), images.image_shape)
    manifest = {"thumbnails": facts, "files": dict.fromkeys(facts["sheets"])}
    thumbnails = Thumbnails(tmp_path, manifest, 1030)
    for row in (0, 1023, 1024, 1029):
        np.testing.assert_array_equal(thumbnails[row], pixels[row], strict=True)


@pytest.mark.parametrize("row", [-1, 120])
def test_no_row_beyond_the_catalogue(row):
    bundle = device.open_bundle(tiny_embedder.bundle())
    with pytest.raises(IndexError, match=f"from 0 to 119. Received: row={row}"):
        bundle.thumbnail(row)


def test_a_bundle_without_says_why(changed):
    change, folder = changed
    change()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["thumbnails"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="no thumbnails: it was.*Received: .*bundle"):
        device.open_bundle(folder).thumbnail(0)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"columns": 0}, "thumbnails.columns must be a number"),
        ({"rows": "32"}, "thumbnails.rows must be a number"),
        ({"sheets": []}, "thumbnails.sheets must be a list of different names"),
        ({"sheets": ["golden.npz", "no.png"]}, "sheets must be names of its files"),
        ({"columns": 1, "rows": 100}, "thumbnails.sheets must be enough for 120"),
        ({"height": 31}, "must have 992 x 1024 pixels. Received: .*1024, 1024"),
        ({"sheets": ["golden.npz"]}, "must be an image. Received: .*golden.npz"),
    ],
)
def test_what_does_not_fit_is_named(changed, fields, expected):
    change, _ = changed
    with pytest.raises(device.BundleError, match=expected):
        change(**fields).thumbnail(0)


def test_a_sheet_cut_short_is_named(changed):
    change, folder = changed
    (folder / SHEET).write_bytes((folder / SHEET).read_bytes()[:200])
    with pytest.raises(device.BundleError, match="must be an image. Received: .*0000"):
        change().thumbnail(0)
