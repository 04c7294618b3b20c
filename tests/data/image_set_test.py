import keras
import numpy as np
import pytest
from PIL import Image

from keras_distill.data import ImageSet

rng = np.random.default_rng(0)
PIXELS = rng.integers(0, 256, (7, 5, 6, 1), np.uint8)
LABELS = [2, 0, 1, 1, 0, 2, 2]
NAMES = ["a", "b", "c"]


@pytest.fixture(params=["memory", "files", "bytes"])
def images(request, tmp_path):
    """The same set, wherever its pixels are."""
    paths = [tmp_path / f"{row}.png" for row in range(len(PIXELS))]
    for path, pixels in zip(paths, PIXELS, strict=True):
        Image.fromarray(pixels[..., 0]).save(path)
    if request.param == "memory":
        return ImageSet(PIXELS, LABELS, NAMES, name="set")
    files = [p.read_bytes() if request.param == "bytes" else str(p) for p in paths]
    return ImageSet(files, LABELS, NAMES, name="set", image_shape=(5, 6, 1))


def test_what_is_given_is_what_is_there(images):
    assert len(images) == 7 and images.image_shape == (5, 6, 1)
    assert images.labels.dtype == np.int32 and images.labels.tolist() == LABELS
    assert images.class_names == ("a", "b", "c") and images.name == "set"
    assert images.ids[:2] == ("set/0", "set/1")
    pixels, labels = images.arrays()
    np.testing.assert_array_equal(pixels, PIXELS)
    np.testing.assert_array_equal(labels, LABELS)
    assert "7 images of shape (5, 6, 1) in 3 classes" in repr(images)


def test_batches_hold_everything_in_order(images):
    batches = list(images.batches(3).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    assert images.batches(3).cardinality() == 3
    pixels, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert pixels.dtype == np.uint8 and labels.dtype == np.int32
    np.testing.assert_array_equal(pixels, PIXELS)
    np.testing.assert_array_equal(labels, LABELS)
    shape, _ = images.batches(3).element_spec
    assert shape.shape.as_list() == [None, 5, 6, 1]


def test_batches_feed_a_model(images):
    model = keras.Sequential([keras.Input((5, 6, 1)), keras.layers.Flatten()])
    np.testing.assert_array_equal(
        model.predict(images.batches(2), verbose=0), PIXELS.reshape(7, -1)
    )


def test_a_subset_keeps_order_labels_and_class_names(images):
    some = images.subset([4, 0, 2])
    np.testing.assert_array_equal(some.arrays()[0], PIXELS[[4, 0, 2]])
    assert some.labels.tolist() == [0, 2, 1] and some.class_names == ("a", "b", "c")
    assert some.ids == ("set/4", "set/0", "set/2")
    masked = images.subset(images.labels == 2)
    assert masked.ids == ("set/0", "set/5", "set/6")


def test_taken_classes_are_numbered_anew_in_their_order(images):
    some = images.take_classes(["c", "b"])
    assert some.class_names == ("b", "c")
    assert some.labels.tolist() == [1, 0, 0, 1, 1]
    assert some.ids == ("set/0", "set/2", "set/3", "set/5", "set/6")
    np.testing.assert_array_equal(some.arrays()[0], PIXELS[[0, 2, 3, 5, 6]])
    assert images.labels.tolist() == LABELS
    assert images.take_classes(lambda name: name != "a").ids == some.ids


def test_the_fingerprint_is_that_of_the_contents(images):
    same = ImageSet(PIXELS.copy(), LABELS, NAMES, images.ids)
    assert images.fingerprint() == same.fingerprint()
    fresh = ImageSet(PIXELS[1:3], LABELS[1:3], NAMES, images.ids[1:3])
    assert images.subset([1, 2]).fingerprint() == fresh.fingerprint()
    ids = images.ids
    others = [
        ImageSet(PIXELS ^ (np.arange(7) == 3)[:, None, None, None], LABELS, NAMES, ids),
        ImageSet(PIXELS, LABELS[::-1], NAMES, ids),
        ImageSet(PIXELS, LABELS, ["a", "b", "d"], ids),
        ImageSet(PIXELS, LABELS, NAMES, [f"other/{row}" for row in range(7)]),
        ImageSet(PIXELS.reshape(7, 6, 5, 1), LABELS, NAMES, ids),
        same.subset([1, 0, 2, 3, 4, 5, 6]),
    ]
    prints = {other.fingerprint() for other in others} | {same.fingerprint()}
    assert len(prints) == len(others) + 1


def test_names_and_ids_are_numbers_where_none_are_given():
    images = ImageSet(PIXELS, LABELS)
    assert images.class_names == ("0", "1", "2") and images.ids[6] == "images/6"


def test_a_file_that_vanishes_is_named(tmp_path):
    path = tmp_path / "gone.png"
    images = ImageSet([str(path)], [0], image_shape=(5, 6, 1))
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        images.arrays()
    with pytest.raises(Exception, match=r"gone\.png"):
        list(images.batches())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((PIXELS, LABELS[:3]), r"as many.*7 images, labels.shape=\(3,\)"),
        ((PIXELS, LABELS, NAMES, ["x"] * 3), "as many.*3 ids"),
        ((PIXELS, LABELS, NAMES, ["x"] * 7), r"Ids must all be different.*\('x'"),
        ((PIXELS, LABELS, ["a", "a", "b"]), "names must all be different.*'a'"),
        ((PIXELS, LABELS, ["a", "b"]), r"lie in \[0, 2\).*from 0 to 2"),
        ((PIXELS, [-1, 0, 0, 0, 0, 0, 0], NAMES), r"lie in \[0, 3\).*from -1"),
        ((PIXELS / 255, LABELS), "uint8 array.*images.dtype=float64"),
        ((PIXELS[..., 0], LABELS), r"uint8 array.*images.shape=\(7, 5, 6\)"),
        ((["a.png"], [0]), "`image_shape` must be given.*image_shape=None"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(*arguments)


def test_unknown_classes_and_no_classes_are_refused():
    images = ImageSet(PIXELS, LABELS, NAMES)
    with pytest.raises(ValueError, match=r"unknown classes=\['z'\]"):
        images.take_classes(["a", "z"])
    with pytest.raises(ValueError, match=r"At least one class.*classes=\[\]"):
        images.take_classes([])


def test_synonyms_follow_their_classes():
    pixels = np.zeros((3, 4, 4, 1), np.uint8)
    known = ImageSet(
        pixels, [0, 1, 2], ["a", "b", "c"], synonyms={"a": ["x"], "c": "yz"}
    )
    assert known.synonyms == {"a": ("x",), "c": ("y", "z")}
    assert known.subset([2, 0]).synonyms == known.synonyms
    assert known.take_classes(["b", "c"]).synonyms == {"c": ("y", "z")}
    assert ImageSet(pixels, [0, 1, 2]).synonyms == {}


def test_synonyms_of_no_class_are_refused():
    pixels = np.zeros((1, 4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match="those of classes.*synonyms of .'b'."):
        ImageSet(pixels, [0], ["a"], synonyms={"b": ["x"]})
