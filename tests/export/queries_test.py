import numpy as np
import pytest
from PIL import Image

from export import queries
from keras_distill import device


@pytest.fixture
def bundle(tmp_path):
    """As much of a bundle as queries are made from."""
    rng = np.random.default_rng(0)
    images = np.zeros((6, 16, 16, 1), np.uint8)
    images[:, 4:12, 3:9] = rng.integers(100, 255, (6, 1, 1, 1))
    ids = np.array([[f"glyphs/U+004{n}/Some Font", "other"] for n in range(6)])
    folder = tmp_path / "bundle"
    folder.mkdir()
    np.savez(folder / "golden.npz", images=images, ids=ids)
    return folder


def test_writes_images_named_after_what_they_show(bundle, tmp_path, capsys):
    queries.main([str(bundle), "--out", str(tmp_path / "q"), "--count", "3"])
    names = {path.name for path in (tmp_path / "q").iterdir()}
    assert names == {f"glyphs_U+004{n}_Some_Font.png" for n in (0, 2, 5)}
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_file_name_loses_its_suffix(bundle, tmp_path):
    with np.load(bundle / "golden.npz") as file:
        np.savez(
            bundle / "golden.npz", images=file["images"][:1], ids=[["bars/42/0.jpeg"]]
        )
    queries.main([str(bundle), "--out", str(tmp_path / "q"), "--count", "1"])
    assert (tmp_path / "q" / "bars_42_0.png").is_file()


def test_they_are_like_the_original_but_not_equal(bundle, tmp_path):
    queries.main([str(bundle), "--out", str(tmp_path / "q"), "--count", "6"])
    golden = np.load(bundle / "golden.npz")["images"].astype(float)
    for n in range(6):
        path = tmp_path / "q" / f"glyphs_U+004{n}_Some_Font.png"
        with Image.open(path) as image:
            assert image.size == (16, 16)
        seen = device.read_image(path, (16, 16, 1)).astype(float)
        correlation = np.corrcoef(seen.ravel(), golden[n].ravel())[0, 1]
        assert 0.8 < correlation < 0.999


def test_colour_is_kept():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 1] = 200
    assert queries.turned(picture, 5.0).getpixel((4, 4)) == (0, 200, 0)


def test_refuses_what_is_no_bundle_and_more_than_there_are(bundle, tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle here. Received: .*none"):
        queries.main([str(tmp_path / "none"), "--out", str(tmp_path / "q")])
    with pytest.raises(ValueError, match=r"--count must lie in \[1, 6\]. Received: 7"):
        queries.main([str(bundle), "--out", str(tmp_path / "q"), "--count", "7"])
