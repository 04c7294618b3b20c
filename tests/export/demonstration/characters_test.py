"""The page of a bundle of glyphs: a drawing is cut out, characters are named."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from export.demonstration import site
from keras_distill import device
from tests import tiny_embedder
from tests.export.demonstration.browser import ANSWERED, LETTER_H, SHOWN, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def page(browser, serve):
    """The bundle of patterns under the names of characters."""
    bundle = tiny_embedder.bundle()
    names = json.loads((bundle / "ids.json").read_text())
    names["class_names"] = [
        f"U+{65 + i:04X} LATIN CAPITAL LETTER {chr(65 + i)}"
        for i in range(len(names["class_names"]))
    ]
    names["synonyms"] = {names["class_names"][0]: ["U+0391 GREEK CAPITAL LETTER ALPHA"]}
    address = serve(bundle, **{"bundle/ids.json": json.dumps(names).encode()})
    yield browser.open(address, {"permissions": ["clipboard-read", "clipboard-write"]})


def test_a_drawing_is_cut_out_as_python_cuts_it_out(page):
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    url = page.evaluate(
        code="(document.activeElement.blur(),"
        " document.querySelector('#pad').toDataURL())"
    )
    drawing = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("L")
    seen = page.evaluate(
        code="[...document.querySelector('#seen').getContext('2d')"
        ".getImageData(0, 0, 32, 32).data].filter((_, i) => i % 4 == 0)"
    )
    expected = device.fit_ink(np.asarray(drawing), (32, 32, 1))
    np.testing.assert_array_equal(np.reshape(seen, (32, 32, 1)), expected)


def test_a_dot_is_a_drawing_and_no_fault_on_the_way_to_a_line(page):
    page.click(target="#clear")
    page.draw(target="#pad", strokes=[[[0.4, 0.4]]])
    page.until(code="document.querySelectorAll('#results li').length > 1")
    faults = [line for line in page.log() if line.startswith("error: Error")]
    assert faults == []
    page.click(target="#clear")


def test_each_character_comes_once_with_its_name_and_code_point(page):
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code="document.querySelector('.letter')?.textContent == 'A'")
    labels = json.loads((tiny_embedder.bundle() / "ids.json").read_text())["labels"]
    shown = [labels[index] for index in page.evaluate(code=SHOWN)]
    assert len(shown) == len(set(shown)) > 1
    first = page.text(target="#results li:first-child")
    for words in ("A", "U+0041", "latin capital letter a", "looks like Α"):
        assert words in first


def test_a_click_copies_the_character(page):
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code="document.querySelector('.letter')?.textContent == 'A'")
    page.click(target="#results li:first-child button")
    page.until(code="document.querySelector('#verdict').textContent == 'Copied A'")
    assert page.evaluate(code="navigator.clipboard.readText()") == "A"


def test_thumbnails_are_those_of_the_catalogue(page):
    """What the styles of a thumbnail select from the sheet is the item's picture."""
    style = page.evaluate(
        code="(() => { const s = document.querySelector('.thumb').style; return"
        " [s.backgroundImage, s.backgroundSize, s.backgroundPosition]; })()"
    )
    index = page.evaluate(code=SHOWN)[0]
    image, size, position = style
    assert image == 'url("bundle/thumbnails/0000.png")' and size == "3200% 3200%"
    across, down = (float(part.rstrip("%")) / 100 * 31 for part in position.split())
    assert [round(down), round(across)] == list(divmod(index, 32))
    assert "bundle/thumbnails/0000.png" in site.site(tiny_embedder.bundle())
