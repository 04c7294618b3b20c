import json

import pytest
from PIL import Image

from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """A folder of class folders: `pattern00` to `pattern23`, five images each."""
    folder = tmp_path_factory.mktemp("data")
    images, _ = tiny_embedder.images()
    for name, image in zip(tiny_embedder.catalogue().ids, images, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / name)
    return folder


@pytest.fixture(scope="package")
def bundle():
    """Path of the bundle that searches are asked of. Copy it to change it."""
    return str(tiny_embedder.bundle())


@pytest.fixture(scope="package")
def queries(data):
    """Paths of two images of its catalogue."""
    return [str(data / "pattern03" / "15.png"), str(data / "pattern10" / "52.png")]


@pytest.fixture(scope="package")
def finished_run(data, tmp_path_factory):
    """What a training run on that folder leaves; it held out pattern20 and above."""
    folder = tmp_path_factory.mktemp("runs") / "patterns"
    folder.mkdir()
    tiny_embedder.student().save(folder / "student.keras")
    recipe = {
        "arguments": {
            "data": str(data),
            "image_size": 32,
            "eval_classes": ["pattern2*"],
            "seed": 0,
        },
        "seed": 0,
        "data": {"name": str(data), "fingerprint": "0"},
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


@pytest.fixture(scope="package")
def scorer_file(tmp_path_factory):
    """A scorer as a file."""
    file = tmp_path_factory.mktemp("scorers") / "scorer.keras"
    tiny_scorer.scorer().save(file)
    return file


@pytest.fixture
def run_of_groups(data, tmp_path):
    """What `train.groups` leaves; the last of its two folds held out 02, 03 and 2*."""
    folder = tmp_path / "groups"
    folder.mkdir()
    tiny_embedder.student().save(folder / "embedder.keras")
    tiny_scorer.scorer().save(folder / "scorer.keras")
    names = [f"pattern{number:02d}" for number in range(24)]
    folds = [
        {"number": number, "seed": number, "proxy": names, "unseen": unseen}
        for number, unseen in enumerate([names[:3], names[2:4] + names[20:]])
    ]
    recipe = {
        "arguments": {"data": str(data), "eval_classes": None, "seed": 3},
        "resolved": {"folds": folds, "degrade": {"blur": 0.01, "share": 1.0}},
        "seed": 3,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "metrics.json").write_text("{}")
    return folder
