"""Bundles and images that are damaged at random: only errors that have a name."""

import json
import shutil

import numpy as np
import pytest

from keras_distill import device
from keras_distill.device.manifest import file_facts
from tests import tiny_embedder

# What the device part says: `BundleError` is a `ValueError`, a missing file `OSError`.
NAMED = (ValueError, TypeError, OSError)
JSON_VALUES = [
    None,
    True,
    -1,
    0,
    3,
    10**12,
    1.5,
    "",
    "x",
    "../x",
    [],
    [1],
    {},
    {"a": 1},
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A bundle without what no search reads, that a copy be quick."""
    folder = tmp_path_factory.mktemp("fuzz") / "bundle"
    shutil.copytree(tiny_embedder.bundle(), folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    shutil.rmtree(folder / "thumbnails", ignore_errors=True)
    (folder / "report.html").unlink(missing_ok=True)
    manifest["files"] = {
        name: facts
        for name, facts in manifest["files"].items()
        if (folder / name).is_file()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def damaged(content, rng):
    """Bytes cut short, with some flipped, doubled, zeroed or put in."""
    content = bytearray(content)
    size = len(content)
    kind = rng.integers(6)
    if kind == 0 or not size:
        return b""
    place = int(rng.integers(size))
    if kind == 1:
        return bytes(content[:place])
    if kind == 2:
        for _ in range(int(rng.integers(1, 9))):
            content[int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    elif kind == 3:
        content[place : place + int(rng.integers(1, 64))] = b"\0"
    elif kind == 4:
        content[place:place] = rng.bytes(int(rng.integers(1, 64)))
    else:
        return bytes(content) + bytes(content[place:])
    return bytes(content)


def places(value, path=()):
    """Paths of all that is inside a JSON value, itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def changed(manifest, rng):
    """A manifest of which one value is another, or gone."""
    manifest = json.loads(json.dumps(manifest))
    paths = [path for path in places(manifest) if path[0] != "retrieval"]
    path = paths[rng.integers(len(paths))]
    holder = manifest
    for key in path[:-1]:
        holder = holder[key]
    if rng.integers(3) == 0:
        del holder[path[-1]]
    else:
        holder[path[-1]] = JSON_VALUES[rng.integers(len(JSON_VALUES))]
    return manifest


def used(folder, image):
    """All that a device does with a bundle; what it says if it refuses."""
    try:
        bundle = device.open_bundle(folder)
        _, scores = bundle.search(image[None], 3)
        bundle.search(bundle.embed(image)[None], 3)
        if bundle.has_thresholds():
            bundle.match(scores)
            bundle.no_match(scores)
        bundle.check_golden()
    except NAMED as error:
        assert str(error), type(error)
        return error
    return None


def fuzz_manifests(source, folder, image, count, seed):
    """Manifests with a wrong value, and files that are not as the manifest says."""
    rng = np.random.default_rng(seed)
    manifest = json.loads((source / "manifest.json").read_text())
    shutil.copytree(source, folder)
    refused = 0
    for _ in range(count):
        text = json.dumps(changed(manifest, rng)).encode()
        if rng.integers(4) == 0:
            text = damaged(text, rng)
        (folder / "manifest.json").write_bytes(text)
        refused += used(folder, image) is not None
    return refused


def fuzz_files(source, folder, image, count, seed, follow):
    """Files that are damaged; with `follow` the manifest is made to agree.

    Networks are left alone then: no interpreter checks all of a file, and one that has
    been altered on purpose may end the process. That is what the digests are for.
    """
    rng = np.random.default_rng(seed)
    manifest = json.loads((source / "manifest.json").read_text())
    names = sorted(manifest["files"])
    if follow:
        names = [name for name in names if not name.endswith((".tflite", ".pb"))]
    shutil.copytree(source, folder)
    refused = 0
    for _ in range(count):
        name = names[rng.integers(len(names))]
        content = damaged((source / name).read_bytes(), rng)
        (folder / name).write_bytes(content)
        if follow:
            facts = {**manifest["files"], name: file_facts(folder / name)}
            text = json.dumps({**manifest, "files": facts})
            (folder / "manifest.json").write_text(text)
        same = content == (source / name).read_bytes()
        error = used(folder, image)
        refused += error is not None
        if not follow and not same:
            assert isinstance(error, device.BundleError) and name in str(error)
        (folder / name).write_bytes((source / name).read_bytes())
    return refused


def fuzz_images(folder, count, seed):
    """Image files that are damaged: read, or refused as no image."""
    import io

    from PIL import Image

    rng = np.random.default_rng(seed)
    image = Image.fromarray(tiny_embedder.images()[0][0][..., 0])
    originals = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"):
        stream = io.BytesIO()
        image.save(stream, kind)
        originals.append(stream.getvalue())
    refused = 0
    for _ in range(count):
        content = damaged(originals[rng.integers(len(originals))], rng)
        (folder / "image").write_bytes(content)
        try:
            pixels = device.read_image(folder / "image", (32, 32, 1))
            assert pixels.shape == (32, 32, 1) and pixels.dtype == np.uint8
        except ValueError as error:
            assert "Received: file=" in str(error)
            refused += 1
    return refused


def fuzz(source, tmp_path, count, seed):
    image = tiny_embedder.images()[0][0]
    parts = {
        "manifests": fuzz_manifests(source, tmp_path / "a", image, count, seed),
        "files": fuzz_files(source, tmp_path / "b", image, count, seed, False),
        "agreeing": fuzz_files(source, tmp_path / "c", image, count, seed, True),
        "images": fuzz_images(tmp_path, count, seed),
    }
    # Much that is altered matters: a fuzz that nothing refuses tests nothing.
    assert all(refused > count // 10 for refused in parts.values()), parts


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, of what it can read still
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy, of altered numbers
def test_what_is_damaged_is_refused_by_name(source, tmp_path):
    fuzz(source, tmp_path, count=40, seed=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_2000_damaged_bundles_and_images_are_refused_by_name(source, tmp_path):
    fuzz(source, tmp_path, count=500, seed=1)
