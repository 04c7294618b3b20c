"""The page says what it cannot do, and what it is not sure of."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from export.demonstration import site
from keras_distill import device
from tests import tiny_embedder
from tests.export.demonstration.browser import ANSWERED, FAULT, LETTER_H, SHOWN, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_the_badge_is_red_where_the_figures_differ(browser, serve):
    bundle = tiny_embedder.bundle()
    golden = json.loads(site.site(bundle)["bundle/golden.json"])
    rows = np.frombuffer(base64.b64decode(golden["embeddings"]), "<f4")
    turned = np.roll(rows.reshape(32, -1), 1, axis=1)
    golden["embeddings"] = base64.b64encode(turned.tobytes()).decode()
    address = serve(bundle, **{"bundle/golden.json": json.dumps(golden).encode()})
    page = browser.open(address)
    assert page.text(target="#badge").startswith("✗ Differs from the desktop")
    page.close()


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("notes.png", b"no picture", "“notes.png” is no picture that this browser"),
        ("empty.png", b"", "“empty.png” is no picture that this browser"),
        ("large.png", None, "“large.png” has 64 million pixels, more than the 50"),
    ],
)
def test_what_is_no_picture_or_a_huge_one_is_said(
    page, tmp_path, name, content, sentence
):
    if content is None:
        Image.new("1", (8000, 8000)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    page.files(target="#file", files=str(tmp_path / name))
    page.until(code=FAULT)
    assert page.text(target="#fault").startswith(sentence)
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code=ANSWERED)
    assert page.evaluate(code="document.querySelector('#fault').hidden")


@pytest.mark.parametrize(
    "script, sentence",
    [
        ("WebAssembly.validate = () => false", "WebAssembly has no SIMD instructions"),
        ("delete window.WebAssembly", "This browser has no WebAssembly"),
    ],
)
def test_a_browser_that_cannot_run_it_is_told_why(browser, url, script, sentence):
    page = browser.open(url, script=script, wait="html[data-fault]")
    assert sentence in page.text(target="#fault")
    assert page.evaluate(code="document.querySelector('#main').hidden")
    page.close()


def test_a_camera_that_is_refused_is_said(browser, url):
    script = """navigator.mediaDevices.getUserMedia = () =>
      Promise.reject(new DOMException("no", "NotAllowedError"))"""
    page = browser.open(url, script=script)
    page.click(target="#camera")
    page.until(code=FAULT)
    assert "may not use the camera" in page.text(target="#fault")
    page.close()


def test_a_bundle_without_its_search_file_is_searched_by_the_page_which_says_so(
    browser, serve
):
    bundle = tiny_embedder.bundle()
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest.pop("search", None)
    manifest.pop("thresholds", None)
    address = serve(bundle, **{"bundle/manifest.json": json.dumps(manifest).encode()})
    page = browser.open(address)
    assert page.text(target="#notice").startswith("This bundle has no search.tflite")
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code=ANSWERED)
    with np.load(bundle / "golden.npz") as file:
        image = file["images"][0]
    _, rows = device.open_bundle(bundle).nearest(image[None], 10, "numpy")
    assert page.evaluate(code=SHOWN) == rows[0].tolist()
    assert "no calibrated threshold" in page.text(target="#verdict")
    page.close()


def with_threshold(bundle, true_rate):
    """The manifest of a bundle whose threshold accepts so much of what is in it."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    no_match = {"threshold": 0.97, "true_rate": true_rate}
    limits = {"match": {"threshold": 0.5}, "no_match": no_match}
    manifest["thresholds"] = {"false_match_rate": 0.01, "models": {"int8": limits}}
    return {"bundle/manifest.json": json.dumps(manifest).encode()}


def test_a_threshold_that_would_refuse_nearly_all_is_not_applied(browser, serve):
    bundle = tiny_embedder.bundle()
    page = browser.open(serve(bundle, **with_threshold(bundle, 0.03)))
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    said = page.text(target="#verdict")
    assert "at 1 % false matches, 3 % of what is would be accepted" in said
    assert "Not in" not in said
    page.close()


def test_a_query_below_the_threshold_is_not_in_the_catalogue(browser, serve):
    bundle = tiny_embedder.bundle()
    page = browser.open(serve(bundle, **with_threshold(bundle, 0.9)))
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code=ANSWERED)
    assert page.text(target="#verdict").startswith("In the catalogue: the nearest")
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code="document.querySelector('#verdict.none') !== null")
    said = page.text(target="#verdict")
    assert said.startswith("Not in the catalogue") and "threshold of 0.970" in said
    page.close()
