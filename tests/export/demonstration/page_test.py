"""The page in a real browser: it answers, and finds what Python finds."""

import numpy as np
import pytest
from PIL import Image

from keras_distill import device
from tests import tiny_embedder, tiny_scorer
from tests.export.demonstration.browser import ANSWERED, LETTER_H, SHOWN, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def python_finds(image):
    """Rows of the catalogue, as the device part finds them."""
    bundle = device.open_bundle(tiny_scorer.bundle())
    _, rows = bundle.nearest(image[None], 10)
    return rows[0].tolist()


def saved(folder, pixels, name="query.png"):
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def test_the_badge_is_green_with_its_figure(page):
    badge = page.text(target="#badge")
    assert "Agrees with the desktop: 32 golden pictures" in badge
    assert page.evaluate(code="document.querySelector('#badge').className") == (
        "badge good"
    )
    assert float(badge.split("least cosine ")[1][:7]) > 0.999


def test_a_drawing_finds_ten_and_says_how_long_it_took(page):
    assert page.text(target="#results") == ""
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    assert len(page.evaluate(code=SHOWN)) == 10
    for name in ("#embedding-time", "#search-time"):
        assert page.text(target=name).endswith(" ms")
    assert page.text(target="#items") == "120"
    page.click(target="#clear")
    assert page.evaluate(code=SHOWN) == []


def test_answers_come_while_one_draws(page):
    page.draw(target="#pad", strokes=[LETTER_H[0]])
    page.until(code=ANSWERED)
    assert page.evaluate(code="+document.documentElement.dataset.answers") > 1


@pytest.mark.parametrize("size", [(32, 32), (20, 27), (75, 60), (643, 401)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_file_finds_what_python_finds(page, tmp_path, size, mode):
    pixels, _ = tiny_embedder.images()
    picture = Image.fromarray(pixels[17, ..., 0]).resize(size).convert(mode)
    if mode == "RGB":
        tinted = np.asarray(picture) * np.array([1, 0.7, 0.4])
        picture = Image.fromarray(tinted.astype(np.uint8))
    file = saved(tmp_path, np.asarray(picture))
    page.files(target="#file", files=file)
    page.until(code=ANSWERED)
    seen = page.evaluate(
        code="[...document.querySelector('#seen').getContext('2d')"
        ".getImageData(0, 0, 32, 32).data].filter((_, i) => i % 4 == 0)"
    )
    image = device.read_image(file, (32, 32, 1))
    np.testing.assert_array_equal(np.reshape(seen, (32, 32, 1)), image)
    assert page.evaluate(code=SHOWN) == python_finds(image)


def test_a_file_that_is_dropped_is_asked_with(page):
    pixels, _ = tiny_embedder.images()
    page.evaluate(
        code="""(async () => {
          const canvas = new OffscreenCanvas(32, 32);
          const context = canvas.getContext("2d");
          context.fillRect(0, 0, 16, 32);
          const file = new File([await canvas.convertToBlob()], "half.png");
          const data = new DataTransfer();
          data.items.add(file);
          document.body.dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        })()"""
    )
    page.until(code=ANSWERED)
    half = np.full((32, 32, 1), 0, np.uint8)  # what is not filled is transparent
    half[:, 16:] = 255
    assert page.evaluate(code=SHOWN) == python_finds(half)


def test_the_camera_gives_a_picture(page):
    page.click(target="#camera")
    page.until(code="document.querySelector('video').videoWidth > 0")
    page.click(target=".take")
    page.until(code=ANSWERED)
    assert len(page.evaluate(code=SHOWN)) == 10
    assert not page.evaluate(code="document.querySelector('dialog').open")


def test_several_pictures_are_one_query(page):
    for number in range(3):
        page.evaluate(
            code=f"document.querySelectorAll('#samples button')[{number}].click()"
        )
        page.until(code=f"document.documentElement.dataset.answers == {number + 1}")
        page.evaluate(code="document.querySelector('#group').open = true")
        page.click(target="#group-add")
    page.until(code="document.querySelectorAll('#group-members li').length == 3")
    bundle = device.open_bundle(tiny_scorer.bundle())
    with np.load(bundle.path / "golden.npz") as file:
        images = file["images"][[0, 5, 10]]
    group = bundle.embed_group(images)
    said = page.evaluate(
        code="[...document.querySelectorAll('#group-members li')]"
        ".map((e) => e.textContent)"
    )
    for text, score, weight in zip(said, group.scores, group.weights, strict=True):
        assert text == f"score {score:.2f}, weighs {round(100 * float(weight))} %"
    found = page.evaluate(code=SHOWN.replace("#results", "#group-results"))
    _, rows = bundle.nearest(group.embedding[None], 10)
    assert found == rows[0].tolist()


def test_float_and_int8_stand_side_by_side(page):
    page.evaluate(code="document.querySelector('#compare').open = true")
    page.evaluate(code="document.querySelector('#samples button').click()")
    page.until(code="document.querySelectorAll('#float-results li').length == 10")
    with np.load(tiny_scorer.bundle() / "golden.npz") as file:
        image = file["images"][:1]
    for name, model in (("float", "float32"), ("int8", "int8")):
        bundle = device.open_bundle(tiny_scorer.bundle(), model=model)
        _, rows = bundle.nearest(bundle.embed(image), 10)
        shown = page.evaluate(code=SHOWN.replace("#results", f"#{name}-results"))
        assert shown == rows[0].tolist()
    said = page.text(target="#compare-said")
    assert " of 10 are the same" in said and "cosine" in said


def test_the_files_are_listed_with_their_sizes_and_recall(page):
    page.evaluate(code="document.querySelector('#sizes').open = true")
    table = page.text(target="#files")
    models = device.open_bundle(tiny_scorer.bundle()).manifest["models"]
    for model in models.values():
        assert model["file"] in table
        assert f"{model['bytes'] / 1000:.1f} kB" in table
        assert f"{100 * model['recall_at_1']:.2f} %" in table


def test_nothing_is_asked_of_another_host_and_no_script_fails(page, url):
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    log = page.log()
    asked = [line.split()[1] for line in log if line.startswith("request: ")]
    assert len(asked) > 15
    assert not [one for one in asked if not one.startswith((url, "data:", "blob:"))]
    # LiteRT writes its own notices as errors.
    ours = ("error: Error", "error: Uncaught", "error: Refused", "error: TypeError")
    assert not [line for line in log if line.startswith(ours)]
