import html.parser
import io
import json
import re
import urllib.request

import numpy as np
import pytest
from PIL import Image

from keras_distill.data.image_set import ImageSet
from keras_distill.retrieval.report_page import report_page
from tests import tiny_embedder


@pytest.fixture(scope="module")
def manifest():
    return json.loads((tiny_embedder.bundle() / "manifest.json").read_text())


@pytest.fixture(scope="module")
def page():
    return (tiny_embedder.bundle() / "report.html").read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects images and cells."""

    EMPTY = {"meta", "img", "br"}

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.text = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_holds_every_stage_network_and_file_with_its_figures(manifest, page):
    text = " ".join(Reader(page).text)
    for stage in manifest["retrieval"]["stages"]:
        assert stage["name"] in text
        for key in ("recall_at_1", "map_at_r", "overlap_at_10"):
            assert f"{100 * stage[key]:.2f}" in text
        assert f"{stage['cosine_min']:.5f}" in text
    for facts in manifest["models"].values():
        assert f"{facts['bytes'] / 1000:,.1f}" in text
        assert f"{facts['milliseconds']:.3f}" in text
    for name, facts in manifest["files"].items():
        assert name == "report.html" or facts["sha256"][:16] in text
    assert "report.html" in manifest["files"]


def cells(page, file):
    """The line of `file` in the table of searches."""
    table = page.partition("<h2>Search in one file</h2>")[2].partition("</table>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    (line,) = (line for line in found if line[0] == file)
    return line[1:]


def test_says_what_the_files_that_search_find(manifest, page):
    searches = manifest["search"], manifest["task_library"]
    recalls = [searches[0]["recall"], searches[1]["recall_at_10"]]
    overlaps = [searches[0]["overlap"], searches[1]["overlap_at_10"]]
    inside = ["–", f"{searches[1]['index']['bytes'] / 1000:,.1f}"]
    times = [f"{searches[0]['milliseconds']:.3f}", "–"]
    for facts, recall, overlap, index, time in zip(
        searches, recalls, overlaps, inside, times, strict=True
    ):
        assert cells(page, facts["file"]) == [
            f"{facts['bytes'] / 1000:,.1f}",
            index,
            "all rows",
            f"{100 * recall:.2f}",
            f"{100 * overlap:.2f}",
            f"{facts['score_difference']:.1e}",
            time,
        ]
    assert "differ from those of the int8 file by 0." in page


def test_says_of_lists_and_of_parts_how_many_are_looked_into(manifest):
    worst = [(0, np.array([1]), np.array([1]))]
    index = {"kind": "tree", "searched": 3, "partitions": 9, "bytes": 1}
    changed = {
        **manifest,
        "search": {**manifest["search"], "kind": "inverted_file"},
        "task_library": {**manifest["task_library"], "index": index},
    }
    changed["search"] |= {"probes": 8, "lists": 447}
    page = report_page(changed, tiny_embedder.catalogue(), worst)
    assert cells(page, "search.tflite")[2] == "8 of 447 lists"
    assert cells(page, "task_searcher.tflite")[2] == "3 of 9 parts"
    del changed["task_library"]
    page = report_page(changed, tiny_embedder.catalogue(), worst)
    assert "Task Library" not in page and "8 of 447 lists" in page


def test_loads_nothing_and_runs_nothing(page):
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    for image in Reader(page).images:
        assert image["src"].startswith("data:image/png;base64,") and image["alt"]
    assert 'name="viewport"' in page and "prefers-color-scheme: dark" in page


def test_shows_the_neighbours_by_keras_and_by_int8(page):
    lists = re.findall(r"<ol>(.*?)</ol>", page, re.DOTALL)
    assert len(lists) == 2 * 12
    images, labels = tiny_embedder.images()
    by_pixels = {image.tobytes(): row for row, image in enumerate(images)}
    queries = re.findall(r'<figure><img src="([^"]*)"', page)
    for address, by_keras, by_int8 in zip(
        queries, lists[::2], lists[1::2], strict=True
    ):
        query = by_pixels[pixels(address).tobytes()]
        found = []
        for strip in (by_keras, by_int8):
            items = re.findall(r'<li class="([^"]*)"><img src="([^"]*)"', strip)
            rows = [by_pixels[pixels(source).tobytes()] for _, source in items]
            assert len({*rows}) == 10 and query not in rows
            for row, (kinds, _) in zip(rows, items, strict=True):
                assert ("same" in kinds.split()) == (labels[row] == labels[query])
            found.append((rows, items))
        for (rows, items), (others, _) in (found, found[::-1]):
            for row, (kinds, _) in zip(rows, items, strict=True):
                assert ("new" in kinds.split()) == (row not in others)


def pixels(address):
    with urllib.request.urlopen(address) as stream:
        return np.asarray(Image.open(io.BytesIO(stream.read())))[..., None]


def test_large_colour_images_become_thumbnails_and_names_are_escaped(manifest):
    large = np.zeros((3, 300, 200, 3), np.uint8)
    catalogue = ImageSet(large, np.array([0, 0, 1]), ["<b>&", "c"], list("xyz"), "<i>")
    worst = [(0, np.array([1, 2]), np.array([2, 1]))]
    page = report_page(manifest, catalogue, worst)
    reader = Reader(page)
    assert "<b>&" in reader.text and "separable_16 on <i>" in reader.text
    for image in reader.images:
        with urllib.request.urlopen(image["src"]) as stream:
            assert Image.open(io.BytesIO(stream.read())).size == (64, 96)


def test_what_was_not_measured_is_a_dash(manifest):
    stages = [dict(stage) for stage in manifest["retrieval"]["stages"]]
    stages[-1]["map_at_r"] = stages[-1]["cosine_min"] = None
    changed = {**manifest, "retrieval": {**manifest["retrieval"], "stages": stages}}
    worst = [(0, np.array([1]), np.array([1]))]
    page = report_page(changed, tiny_embedder.catalogue(), worst)
    section = page.partition("stage by stage")[2].partition("</table>")[0]
    assert section.count("<td>–</td>") == 2 + sum(
        s["milliseconds"] is None for s in stages
    )
