import json

import numpy as np
import pytest
from PIL import Image

from export import hit_rate as program
from keras_distill import device
from tests import tiny_embedder


class Glyphs:
    """A bundle of three characters whose embedding is the mean of four quarters."""

    image_shape = (16, 16, 1)
    classes = ("U+0061 LATIN SMALL LETTER A",) * 2 + (
        "U+0062 LATIN SMALL LETTER B",
        "U+03B3 GREEK SMALL LETTER GAMMA",
    )
    synonyms = {classes[0]: ("U+0430 CYRILLIC SMALL LETTER A",)}
    rows = np.array(
        [[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32
    )

    def __len__(self):
        return len(self.rows)

    def embed(self, images):
        ink = 255.0 - images[..., 0]
        parts = ink.reshape(-1, 2, 8, 2, 8).mean((2, 4)).reshape(len(images), 4)
        return (parts / np.linalg.norm(parts, axis=1, keepdims=True)).astype("f4")


def image(*quarters):
    """An image with ink in some quarters, from the top left to the bottom right."""
    result = np.full((16, 16, 1), 255, np.uint8)
    for quarter in quarters:
        row, column = divmod(quarter, 2)
        result[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
    return result


def test_a_class_is_known_by_every_character_that_looks_like_it():
    names = program.characters(Glyphs())
    assert names["a"] == names["а"] == "U+0061 LATIN SMALL LETTER A"
    assert names["γ"] == Glyphs.classes[-1] and set(names) == set("aаbγ")


def test_a_bundle_of_other_things_is_refused():
    bundle = device.open_bundle(tiny_embedder.bundle())
    with pytest.raises(ValueError, match="must be of glyphs.*'pattern00'"):
        program.characters(bundle)


@pytest.mark.parametrize(
    "quarters, name, rank",
    [((0,), 0, 0), ((1,), 2, 0), ((1,), 0, 1), ((2,), 3, 0), ((0, 1), 3, 2)],
)
def test_the_rank_counts_each_nearer_character_once(quarters, name, rank):
    # Where both glyphs of "a" are nearer, they count as one.
    assert program.rank(Glyphs(), image(*quarters), Glyphs.classes[name]) == rank


def test_what_is_not_in_the_catalogue_is_never_found():
    assert program.rank(Glyphs(), image(0), None) == float("inf")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two drawings each of a, b and c; b is drawn like a by one of two people."""
    monkeypatch.setattr(program, "ALPHABETS", {"Latin": "abc"})
    # Ink of the lower right quarter bounds what is cut out, and belongs to no class.
    drawn = {1: [(0, 3), (0, 3)], 2: [(1, 2), (0, 3)], 3: [(1, 2), (1, 2)]}
    for number, people in drawn.items():
        place = tmp_path / "Latin" / f"character{number:02d}"
        place.mkdir(parents=True)
        for person, quarters in enumerate(people):
            pixels = image(*quarters)[..., 0]
            Image.fromarray(pixels).save(place / f"{person}.png")
    return tmp_path


def test_counts_the_drawings_whose_character_is_among_the_first(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(program.device, "open_bundle", lambda *_, **__: Glyphs())
    monkeypatch.setattr(program, "RANKS", (1, 2, 3))
    program.main(["bundle", str(folder), "--alphabets", "Latin", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["characters"] == 3
    assert found["Latin"]["drawings"] == 6
    assert found["Latin"]["not_in_the_catalogue"] == ["c"]
    # (1, 2) is as near to b as to gamma, and no other is nearer.
    rates = [found["Latin"][f"top_{k}"] for k in (1, 2, 3)]
    assert rates == pytest.approx([3 / 6, 4 / 6, 4 / 6])
    program.main(["bundle", str(folder), "--alphabets", "Latin"])
    said = capsys.readouterr().out
    assert "top 1 50.0 %" in said and "never found: c" in said


def test_a_character_without_drawings_is_named(folder):
    for file in (folder / "Latin" / "character02").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="of 'b' are expected.*character02"):
        list(program.drawings(folder, "Latin"))


def test_the_alphabets_are_those_of_omniglot(real_data):
    images = real_data("omniglot/images")
    for alphabet, characters in program.ALPHABETS.items():
        folders = [path for path in (images / alphabet).iterdir() if path.is_dir()]
        assert len(folders) == len(characters) == len(set(characters))
        assert len(list(program.drawings(images, alphabet))) == 20 * len(folders)
