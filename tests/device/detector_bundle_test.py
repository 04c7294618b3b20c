"""A detector's bundle on a device: what it finds, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_distill import device
from keras_distill.device.manifest import file_facts
from tests import tiny_embedder, tiny_retinanet
from tests.device.fuzz_test import NAMED, changed, damaged

IMAGES = tiny_retinanet.evaluation().images.read(range(24))


@pytest.fixture(scope="module")
def bundle():
    return device.open_detector(tiny_retinanet.bundle())


@pytest.fixture
def copy(tmp_path):
    """A copy of the bundle to spoil."""
    return shutil.copytree(tiny_retinanet.bundle(), tmp_path / "copy")


def change_manifest(folder, **changes):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, **changes}))


def spoil(folder, name, write):
    """Writes a file of a bundle anew, and its facts in the manifest."""
    write(folder / name)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    change_manifest(folder, files={**files, name: file_facts(folder / name)})


def test_it_lays_the_anchors_of_the_detector_and_knows_its_classes(bundle):
    detector = tiny_retinanet.detector()
    np.testing.assert_array_equal(bundle.detector.anchors, detector.anchors)
    assert bundle.class_names == tiny_retinanet.CLASSES
    assert bundle.image_shape == detector.image_shape
    assert bundle.runtime.name == "ai-edge-litert"


def test_it_finds_what_the_detector_finds():
    exact = device.open_detector(
        tiny_retinanet.bundle(), model="float32", threshold=0.3
    )
    pixels = IMAGES.astype(np.float32)
    expected = tiny_retinanet.detector().predict(pixels, verbose=0)
    total = 0
    for row, image in enumerate(IMAGES):
        boxes, scores, labels = exact.detect(image)
        there = expected["scores"][row] > 0.3
        np.testing.assert_allclose(scores, expected["scores"][row][there], atol=1e-3)
        np.testing.assert_allclose(boxes, expected["boxes"][row][there], atol=0.1)
        np.testing.assert_array_equal(labels, expected["labels"][row][there])
        total += len(scores)
    assert total > 20


def test_the_threshold_is_the_bundles_unless_one_is_named(bundle):
    own = json.loads((bundle.path / "manifest.json").read_text())["decoding"]
    assert bundle.threshold == own["threshold"] and 0 < bundle.threshold < 1
    counts = []
    for threshold in (0.05, bundle.threshold, 1.0):
        opened = device.open_detector(bundle.path, threshold=threshold)
        found = [opened.detect(image)[1] for image in IMAGES[:8]]
        assert np.concatenate(found).min(initial=2) > threshold
        counts.append(sum(map(len, found)))
    assert counts[0] > counts[1] > counts[2] == 0
    found = [bundle.detect(image)[1] for image in IMAGES[:8]]
    assert sum(map(len, found)) == counts[1]


def enlarged(row, width, height, folder):
    """A picture that shows image `row` at its left or upper part, in a file."""
    factor = min(width / 96, height / 64)
    image = Image.fromarray(IMAGES[row])
    size = round(96 * factor), round(64 * factor)
    sheet = Image.new("RGB", (width, height), (127, 127, 127))
    sheet.paste(image.resize(size, Image.Resampling.NEAREST))
    sheet.save(folder / "photo.png")
    return folder / "photo.png", factor


def test_boxes_are_in_pixels_of_the_file(bundle, tmp_path):
    row = max(range(24), key=lambda row: len(bundle.detect(IMAGES[row])[1]))
    boxes, scores, _ = bundle.detect(IMAGES[row])
    sure = scores > bundle.threshold + 0.2
    assert sure.any()
    for size in ((96, 64), (288, 192)):
        file, factor = enlarged(row, *size, tmp_path)
        found = bundle.find(file)
        assert found.size == size
        # Enlarged by three and scaled back it is nearly the same image.
        near = found.boxes[: sure.sum()] / factor
        np.testing.assert_allclose(near, boxes[sure], atol=2.0)


@pytest.mark.parametrize("size", [(96, 64), (288, 300), (500, 192)])
def test_boxes_lie_in_the_picture_whatever_its_shape(bundle, size, tmp_path):
    file, _ = enlarged(0, *size, tmp_path)
    found = device.open_detector(bundle.path, threshold=0.02).find(file)
    assert found.size == size and len(found.boxes) == len(found.names) > 0
    assert found.names == tuple(tiny_retinanet.CLASSES[k] for k in found.labels)
    assert (found.boxes >= 0).all() and (found.boxes[:, 2:] <= size).all()
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 2000)])
def test_pictures_of_odd_sizes_are_taken(bundle, size, tmp_path):
    Image.new("L", size, 200).save(tmp_path / "odd.png")
    found = bundle.find(tmp_path / "odd.png")
    assert found.size == size
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.boxes[:, 2:] <= size).all()
    crops = device.read_crops(tmp_path / "odd.png", found.boxes, (8, 8, 1))
    assert len(crops) == len(found.boxes)


def test_what_lies_in_the_padding_alone_is_left_out(bundle, tmp_path, monkeypatch):
    # The file fills the left half, 48 of 96 columns.
    Image.new("RGB", (96, 128)).save(tmp_path / "photo.png")
    given = (
        np.float32([[0, 0, 20, 20], [40, 10, 60, 30], [48, 0, 90, 60]]),
        np.float32([0.9, 0.8, 0.7]),
        np.int32([0, 1, 0]),
    )
    monkeypatch.setattr(bundle.detector, "detect", lambda image: given)
    found = bundle.find(tmp_path / "photo.png")
    np.testing.assert_allclose(found.boxes, [[0, 0, 40, 40], [80, 20, 96, 60]])
    np.testing.assert_allclose(found.scores, [0.9, 0.8])
    assert found.names == ("square", "bar")


def test_where_nothing_is_nothing_is_found(bundle, tmp_path):
    Image.new("RGB", (200, 150), (127, 127, 127)).save(tmp_path / "grey.png")
    found = device.open_detector(bundle.path, threshold=0.99).find(
        tmp_path / "grey.png"
    )
    assert found.boxes.shape == (0, 4) and found.names == ()


def test_a_file_that_is_no_image_is_refused(bundle, tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match="Cannot read the image.*empty.jpg"):
        bundle.find(tmp_path / "empty.jpg")
    with pytest.raises(FileNotFoundError, match="none.jpg"):
        bundle.find(tmp_path / "none.jpg")


def test_the_golden_images_come_out_as_they_went_in(bundle):
    found = bundle.check_golden()
    assert found["images"] == 4 and found["anchors"] == 100
    assert found["score_difference"] < 1e-6 and found["offset_difference"] < 1e-6
    assert found["found_again"] == found["objects"] > 0


@pytest.mark.parametrize(
    "name, change",
    [
        ("class_logits", lambda values: values[::-1]),
        ("box_deltas", lambda values: values + 0.5),
        ("labels", lambda values: np.where(values < 0, -1, 1 - values)),
        ("boxes", lambda values: values + 40),
        ("box_deltas", lambda values: values * np.nan),
    ],
)
def test_golden_images_that_give_something_else_are_refused(copy, name, change):
    with np.load(copy / "golden.npz") as stored:
        golden = dict(stored)
    golden[name] = change(golden[name]).astype(golden[name].dtype)
    spoil(copy, "golden.npz", lambda path: np.savez(path, **golden))
    opened = device.open_detector(copy)
    with pytest.raises(device.BundleError, match="must give scores within.*Received"):
        opened.check_golden()


def test_a_golden_file_of_other_shapes_is_refused(copy):
    with np.load(copy / "golden.npz") as stored:
        golden = dict(stored)
    for changes in (
        {"images": golden["images"][:, :32]},
        {"boxes": golden["boxes"][..., :3]},
        {"anchors": golden["anchors"] + 10**6},
        {"labels": golden["labels"].astype(float)},
        {"images": golden["images"][:0]},
    ):
        some = {**golden, **changes}
        spoil(copy, "golden.npz", lambda path, some=some: np.savez(path, **some))
        with pytest.raises(device.BundleError, match="golden file must hold"):
            device.open_detector(copy).check_golden()


@pytest.mark.parametrize("name", ["detect_int8.tflite", "golden.npz"])
def test_an_altered_file_is_refused_by_name(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    (copy / name).write_bytes(content)
    with pytest.raises(device.BundleError, match=f"altered.*Received: '{name}'"):
        device.open_detector(copy)
    (copy / name).write_bytes(content[:100])
    with pytest.raises(device.BundleError, match=f"altered.*'{name}'"):
        device.open_detector(copy)
    (copy / name).unlink()
    with pytest.raises(device.BundleError, match=f"missing. Received: '{name}'"):
        device.open_detector(copy)


def test_a_bundle_of_the_other_kind_is_refused(copy):
    with pytest.raises(device.BundleError, match="of a detector, this is one of an e"):
        device.open_detector(tiny_embedder.bundle())
    with pytest.raises(
        device.BundleError, match=r"of an embedder, this is one of a detector \(keras_"
    ):
        device.open_bundle(copy)
    change_manifest(copy, kind="loudspeaker")
    for opens in (device.open_detector, device.open_bundle):
        with pytest.raises(device.BundleError, match="Received: kind='loudspeaker'"):
            opens(copy)


@pytest.mark.parametrize(
    "section, name, value, message",
    [
        (None, "class_names", ["a", "a"], "class_names must be a list of different"),
        (None, "class_names", ["a"], "the 1 classes of the manifest.*of 2"),
        ("anchors", "strides", [8, 0], "anchors.strides must be a list of positive"),
        ("anchors", "size", "2", "anchors.size must be a number.*'2'"),
        ("anchors", "scales", [], "anchors.scales must be a list"),
        ("anchors", "ratios", [1.0], "logits and offsets of .* anchors"),
        ("decoding", "threshold", 1.5, "decoding.threshold must be.*1.5"),
        ("decoding", "overlap", None, "decoding.overlap must be.*None"),
        ("decoding", "limit", 0, "decoding.limit must be.*0"),
        ("decoding", "candidates", 2.5, "decoding.candidates must be.*2.5"),
        ("golden", "file", "none.npz", "golden.file must be one of its files"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_the_field(
    copy, section, name, value, message
):
    manifest = json.loads((copy / "manifest.json").read_text())
    holder = manifest if section is None else manifest[section]
    holder[name] = value
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=message):
        device.open_detector(copy)


def test_a_network_of_another_kind_is_refused(copy):
    embedder = (tiny_embedder.bundle() / "embed_int8.tflite").read_bytes()
    spoil(copy, "detect_int8.tflite", lambda path: path.write_bytes(embedder))
    with pytest.raises(ValueError, match="must have the signature detect"):
        device.open_detector(copy)


def test_refuses_and_says_what_it_got(bundle, tmp_path):
    with pytest.raises(ValueError, match="'float32', 'int8'.*model='int4'"):
        device.open_detector(bundle.path, model="int4")
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"Received: threshold={threshold}"):
            device.open_detector(bundle.path, threshold=threshold)
    with pytest.raises(ValueError, match="`threads` must be.*threads=0"):
        device.open_detector(bundle.path, threads=0)
    with pytest.raises(FileNotFoundError, match=f"manifest.json.*path={tmp_path}"):
        device.open_detector(tmp_path)


def used(folder):
    """All that a device does with a bundle; what it says if it refuses."""
    try:
        opened = device.open_detector(folder)
        opened.detect(IMAGES[0])
        opened.check_golden()
    except NAMED as error:
        assert str(error), type(error)
        return error
    return None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy, of altered numbers
def test_what_is_damaged_is_refused_by_name(copy):
    rng = np.random.default_rng(0)
    text = (copy / "manifest.json").read_bytes()
    manifest, golden = json.loads(text), (copy / "golden.npz").read_bytes()
    refused = 0
    for _ in range(60):
        spoilt = json.dumps(changed(manifest, rng)).encode()
        if rng.integers(4) == 0:
            spoilt = damaged(spoilt, rng)
        (copy / "manifest.json").write_bytes(spoilt)
        refused += used(copy) is not None
    assert refused > 6
    refused = 0
    for _ in range(30):
        (copy / "manifest.json").write_bytes(text)
        content = damaged(golden, rng)
        spoil(copy, "golden.npz", lambda path, some=content: path.write_bytes(some))
        refused += used(copy) is not None
    assert refused > 3
