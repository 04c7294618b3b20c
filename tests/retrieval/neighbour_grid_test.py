import importlib

import numpy as np
import pytest
from PIL import ImageColor

from keras_distill.data.image_set import ImageSet
from keras_distill.retrieval import neighbour_grid

module = importlib.import_module("keras_distill.retrieval.neighbour_grid")
rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(6), 4)
IMAGES = rng.integers(0, 256, size=(24, 8, 8, 1), dtype=np.uint8)
EMBEDDINGS = np.eye(6)[LABELS] + 0.01 * rng.normal(size=(24, 6))


@pytest.fixture
def drawn(monkeypatch):
    """What `neighbour_grid` gives to be drawn: `(query, found, scores)` rows, names."""
    seen = {}

    def draw(rows, pictures, labels, names, metric):
        seen.update(rows=rows, pictures=pictures, names=names)

    monkeypatch.setattr(module, "_drawn", draw)

    def call(*args, **kwargs):
        neighbour_grid(*args, **kwargs)
        return seen

    return call


def frame(grid, row, column, shift=0.0):
    """Colour of the left edge of a neighbour's frame, `shift` along it."""
    unit = module.INCHES * module.DOTS
    x = module.NAME_WIDTH + 1.5 + 1.15 * column
    y = module.TOP + module.ROW * row + 0.5 + shift
    return grid.getpixel((round(x * unit), round(y * unit)))


def test_same_class_is_green_and_another_red():
    grid = neighbour_grid(IMAGES, EMBEDDINGS, LABELS, queries=[0, 9], neighbours=5)
    assert grid.mode == "RGB"
    for row in (0, 1):  # three more of a class there are, then come others
        for column in range(3):
            assert frame(grid, row, column) == ImageColor.getrgb(module.SAME)
        for column in (3, 4):
            along = {frame(grid, row, column, s) for s in np.linspace(-0.2, 0.2, 30)}
            assert ImageColor.getrgb(module.OTHER) in along


def test_neighbours_are_the_nearest_without_the_query(drawn):
    twins = np.concatenate([EMBEDDINGS[:12], EMBEDDINGS[:12]])
    for query, found, scores in drawn(IMAGES, twins, LABELS, [0, 5, 20])["rows"]:
        cosines = twins @ twins[query] / np.linalg.norm(twins, axis=1)
        cosines /= np.linalg.norm(twins[query])
        cosines[query] = -np.inf
        order = np.argsort(-cosines, kind="stable")[:10]
        assert query not in found and found[0] == (query + 12) % 24
        np.testing.assert_allclose(scores, cosines[order], atol=1e-6)


def test_distances_are_not_squared(drawn):
    rows = drawn(IMAGES, EMBEDDINGS, LABELS, [3], metric="euclidean")["rows"]
    query, found, scores = rows[0]
    true = np.linalg.norm(EMBEDDINGS[found] - EMBEDDINGS[query], axis=1)
    np.testing.assert_allclose(scores, true, rtol=1e-5)


def test_queries_are_drawn_by_lot_from_different_classes(drawn):
    labels = LABELS.copy()
    labels[0] = 6  # alone: it has nothing to find
    some = [
        [row[0] for row in drawn(IMAGES, EMBEDDINGS, labels, 4, seed=seed)["rows"]]
        for seed in (0, 0, 1)
    ]
    assert some[0] == some[1] != some[2]
    everything = drawn(IMAGES, EMBEDDINGS, labels, 99)["rows"]
    assert sorted(labels[[row[0] for row in everything]]) == [0, 1, 2, 3, 4, 5]


def test_an_image_set_brings_its_pictures_and_names(drawn):
    names = [f"Greek/letter{n}" for n in range(6)]
    seen = drawn(ImageSet(IMAGES, LABELS, names), EMBEDDINGS, LABELS, [7], 2)
    assert seen["names"] == dict(enumerate(names))
    for index, picture in seen["pictures"].items():
        np.testing.assert_array_equal(picture, IMAGES[index, ..., 0])


def test_draws_colours_and_names_of_any_kind():
    names = ["$x_1", "漢字", "a" * 90, "", "two\nlines", "Ω/α"]
    colours = np.repeat(IMAGES, 3, axis=-1).repeat(10, axis=1).repeat(9, axis=2)
    wide = neighbour_grid(colours, EMBEDDINGS, LABELS, 6, 5, names)
    narrow = neighbour_grid(colours, EMBEDDINGS, LABELS, 6, 2, names)
    assert wide.width > narrow.width and wide.height == narrow.height
    assert neighbour_grid(IMAGES[:2], EMBEDDINGS[:2], LABELS[:2]).height < 400


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((IMAGES[:9], EMBEDDINGS, LABELS), r"same length.*len\(images\)=9"),
        ((IMAGES, EMBEDDINGS, LABELS, [24]), r"indices in 0..23.*\[24\]"),
        ((IMAGES, EMBEDDINGS, LABELS, []), "indices in 0..23, at least one"),
        ((IMAGES, EMBEDDINGS, LABELS, 0), "must be a query.*queries=0"),
        ((IMAGES, EMBEDDINGS, np.arange(24)), "two images.*of 0 such classes"),
        ((IMAGES, EMBEDDINGS, LABELS, 1, 0), "image beside the query.*neighbours=0"),
        ((IMAGES[..., 0], EMBEDDINGS, LABELS), r"\(N, H, W, 1\).*\(\d+, 8, 8\)"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        neighbour_grid(*arguments)
