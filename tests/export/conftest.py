import json

import pytest
from PIL import Image

from tests import tiny_embedder


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
