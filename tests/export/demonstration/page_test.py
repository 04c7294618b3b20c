"""The page in a real browser: what a person sees, and that it is what Python finds."""

import base64
import json
import threading

import numpy as np
import pytest
from PIL import Image

from export.demonstration import site
from export.demonstration.server import Server
from keras_distill import device
from tests import tiny_embedder, tiny_scorer
from tests.export.demonstration.browser import Browser, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

LETTER_H = [
    [[0.3, 0.2], [0.3, 0.8]],
    [[0.3, 0.5], [0.7, 0.5]],
    [[0.7, 0.2], [0.7, 0.8]],
]
SHOWN = "[...document.querySelectorAll('#results li')].map((e) => +e.dataset.index)"
ANSWERED = "document.documentElement.dataset.answers > 0"
FAULT = "document.documentElement.dataset.fault"


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def serve():
    """Serves a bundle, with files of its site replaced; returns the address."""
    servers = []

    def serve(bundle, **replaced):
        files = site.site(bundle)
        for name, content in replaced.items():
            files[name] = content
        servers.append(Server(files, 0))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].url

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def url(serve):
    return serve(tiny_scorer.bundle())


@pytest.fixture
def page(browser, url):
    page = browser.open(url)
    yield page
    page.close()


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


def test_a_phone_shows_the_first_answers_on_the_screen_that_one_draws_on(browser, url):
    """The list itself begins below it."""
    phone = {"viewport": {"width": 390, "height": 664}, "isMobile": True}
    page = browser.open(url, phone)
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    assert page.evaluate(code="scrollY") == 0
    pictures = "[...document.querySelectorAll('#glance .thumb')]"
    listed = "[...document.querySelectorAll('#results .thumb')].slice(0, 5)"
    where = ".map((e) => e.style.backgroundPosition)"
    assert page.evaluate(code=f"{pictures}{where}") == (
        page.evaluate(code=f"{listed}{where}")
    )
    lowest = page.evaluate(
        code=f"Math.max(...{pictures}.map((e) => e.getBoundingClientRect().bottom))"
    )
    assert 0 < lowest <= 664
    page.click(target="#clear")
    assert page.evaluate(code=f"{pictures}.length") == 0
    page.close()


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
    pixels, _ = tiny_scorer.images()
    chosen = [0, 1, 4]
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
    assert len(chosen) == 3 and len(pixels)


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


def test_all_of_it_can_be_done_with_keys(page):
    reached = []
    for _ in range(7):
        page.tab()
        reached.append(page.evaluate(code="document.activeElement.id"))
    assert reached[:5] == ["pad", "clear", "undo", "choose", "camera"]
    page.press(target="#pad", keys=[" ", *["ArrowDown"] * 6, " ", "ArrowLeft"])
    page.until(code=ANSWERED)
    assert len(page.evaluate(code=SHOWN)) == 10
    page.press(target="#pad", keys=["Backspace"])
    assert page.evaluate(code=SHOWN) == []


def test_a_screen_reader_hears_names_and_answers(page):
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code="document.querySelector('#said').textContent.includes('Nearest:')")
    nameless = page.evaluate(
        code="[...document.querySelectorAll('button, input, canvas, [role=img]')]"
        ".filter((e) => !(e.ariaHidden || e.ariaLabel || e.textContent.trim()"
        " || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []
    assert page.evaluate(code="document.documentElement.lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_text_is_readable_on_phones_and_desktops_in_light_and_dark(
    browser, url, scheme, width
):
    options = {"colorScheme": scheme, "viewport": {"width": width, "height": 740}}
    page = browser.open(url, options)
    page.draw(target="#pad", strokes=LETTER_H)
    page.until(code=ANSWERED)
    page.click(target="#compare summary")
    page.click(target="#sizes summary")
    assert page.evaluate(code="document.documentElement.scrollWidth") <= width
    contrasts = page.evaluate(code=CONTRASTS)
    assert len(contrasts) > 20
    # 4.5 is what the Web Content Accessibility Guidelines ask for (AA).
    assert [entry for entry in contrasts if entry[0] < 4.5] == []
    page.close()


# The ratio of luminances of each text to the first opaque ground behind it.
CONTRASTS = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.closest(".weak, :disabled"))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const pair = [luminance(getComputedStyle(e).color), luminance(ground(e))];
      const [low, high] = pair.sort((a, b) => a - b);
      return [(high + 0.05) / (low + 0.05), e.textContent.trim().slice(0, 30)];
    });
})()"""


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
