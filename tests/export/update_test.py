import json
import shutil

import pytest
from PIL import Image

from export import update as program
from keras_distill import device
from keras_distill.retrieval import update_bundle
from tests import tiny_embedder


@pytest.fixture
def bundle(tmp_path):
    return shutil.copytree(tiny_embedder.bundle(), tmp_path / "bundle")


@pytest.fixture
def folder(tmp_path):
    """Two new images, one of a new class."""
    images, _ = tiny_embedder.images(classes=2, per_class=1, seed=8)
    names = ["pattern03/new.png", "unseen/new.png"]
    for name, image in zip(names, images, strict=True):
        (tmp_path / "new" / name).parent.mkdir(parents=True)
        Image.fromarray(image[..., 0]).save(tmp_path / "new" / name)
    return tmp_path / "new"


def test_images_are_added_and_removed(bundle, folder, capsys):
    ids = tiny_embedder.catalogue().ids[:2]
    program.main([str(bundle), "--add", str(folder), "--remove", *ids])
    said = capsys.readouterr().out
    assert "2 added, 2 removed, 120 images of 25 classes" in said
    assert "Left out, they need the student: " in said and "report" in said
    opened = device.open_bundle(bundle)
    assert opened.ids[-2:] == ("pattern03/new.png", "unseen/new.png")
    assert opened.classes[-2:] == ("pattern03", "unseen")
    assert not {*ids} & {*opened.ids}


def test_says_why_there_are_no_thumbnails_any_more(bundle, capsys, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "other")
    update_bundle(bundle, remove=tiny_embedder.catalogue().ids[60:])
    manifest = update_bundle(other, remove=tiny_embedder.catalogue().ids[:60])
    del manifest["thumbnails"]
    (other / "manifest.json").write_text(json.dumps(manifest))
    program.main([str(bundle), "--add", str(other)])
    said = capsys.readouterr().out
    assert "60 added" in said and "of which a bundle that was added has none" in said
    assert "thumbnails" not in said.split("need the student: ")[1].split("\n")[0]


def test_prints_what_came_of_it_as_json(bundle, capsys):
    program.main([str(bundle), "--remove", tiny_embedder.catalogue().ids[0], "--json"])
    result = json.loads(capsys.readouterr().out)
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("catalogue", "search", "thresholds", "updated"):
        assert result[name] == manifest[name]
    assert result["updated"]["removed"] == 1


def test_refuses_what_cannot_be(bundle, folder, tmp_path):
    before = (bundle / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match="something to --add or to --remove"):
        program.main([str(bundle)])
    with pytest.raises(FileNotFoundError, match="folder=.*none"):
        program.main([str(bundle), "--add", str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must hold images"):
        program.main([str(bundle), "--add", str(tmp_path / "empty")])
    with pytest.raises(ValueError, match="must be new.*pattern00"):
        program.main([str(bundle), "--add", str(bundle)])
    with pytest.raises(ValueError, match="in the catalogue.*nothing"):
        program.main([str(bundle), "--remove", "nothing"])
    with pytest.raises(FileNotFoundError, match="A bundle is a folder"):
        program.main([str(folder), "--add", str(folder)])
    assert (bundle / "manifest.json").read_bytes() == before
