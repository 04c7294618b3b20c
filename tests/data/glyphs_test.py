import errno
import unicodedata

import numpy as np
import pytest

from keras_distill import data


def code_of(name):
    return name.split()[0]


def ink(images):
    return 1 - images[..., 0] / 255


def test_there_are_thousands_of_classes_of_at_least_four_images(all_glyphs):
    sizes = np.bincount(all_glyphs.labels)
    assert len(sizes) > 3000 and len(all_glyphs) > 30000
    assert sizes.min() >= 4 and np.median(sizes) >= 8
    assert all_glyphs.image_shape == (32, 32, 1)


def test_a_class_is_named_by_code_point_and_unicode_name(all_glyphs):
    assert "U+0041 LATIN CAPITAL LETTER A" in all_glyphs.class_names
    for name in all_glyphs.class_names:
        code, _, spelt = name.partition(" ")
        assert unicodedata.name(chr(int(code[2:], 16))) == spelt
    assert list(all_glyphs.class_names) == sorted(
        all_glyphs.class_names, key=lambda name: int(name[2:].split()[0], 16)
    )


def test_an_image_is_named_by_class_and_font(all_glyphs):
    assert {"glyphs/U+0041/DejaVuSans-Bold", "glyphs/U+0041/cmr10"} < set(
        all_glyphs.ids
    )
    for name, label in zip(all_glyphs.ids, all_glyphs.labels, strict=True):
        assert name.split("/")[1] == code_of(all_glyphs.class_names[label])


def test_look_alikes_are_one_class(all_glyphs):
    codes = {code_of(name) for name in all_glyphs.class_names}
    # Lowest first: Latin, Greek, Cyrillic; those that only look like it follow.
    for alike in ["AΑА", "BΒВ", "HΗН", "oοо", "pр", "iі", "−─", ".•●"]:
        present = [c for c in alike if f"U+{ord(c):04X}" in codes]
        assert present in ([], [alike[0]]), alike
    # I is a bar, and one with the apostrophe of a font without serifs.
    for apart in "ABCDEFGHJKLMNOPQRSTUVWXYZ", "ΓΔΘΞΠΨ", "ДЖЦЧШЩЭЮЯ", "23456789":
        assert {f"U+{ord(c):04X}" for c in apart} <= codes


def test_the_look_alikes_of_a_class_are_its_synonyms(all_glyphs):
    others = all_glyphs.synonyms["U+0041 LATIN CAPITAL LETTER A"]
    assert {"U+0391 GREEK CAPITAL LETTER ALPHA", "U+0410 CYRILLIC CAPITAL LETTER A"} < {
        *others
    }
    names = [*all_glyphs.class_names]
    names += [name for others in all_glyphs.synonyms.values() for name in others]
    assert len(names) == len(set(names))
    assert "U+004B LATIN CAPITAL LETTER K" in names  # whichever class it is of


def test_no_private_or_unassigned_character_and_no_space_is_a_class(all_glyphs):
    for name in all_glyphs.class_names:
        category = unicodedata.category(chr(int(code_of(name)[2:], 16)))
        assert category[0] not in "CZ", name


def test_no_image_is_there_twice_within_a_class_or_across(all_glyphs):
    images, _ = all_glyphs.arrays()
    assert len({image.tobytes() for image in images}) == len(images)


def test_glyphs_are_dark_on_white_centred_and_fill_the_image(all_glyphs):
    images, _ = all_glyphs.arrays()
    marks = ink(images)
    assert images.max() == 255 and np.median(images) == 255
    # A margin of two pixels on every side is free of ink.
    border = np.ones((32, 32), bool)
    border[2:-2, 2:-2] = False
    assert marks[:, border].max() == 0
    extents = []
    for side in (marks.max(axis=2) > 0, marks.max(axis=1) > 0):
        first, last = side.argmax(axis=1), 31 - side[:, ::-1].argmax(axis=1)
        assert np.abs(first - (31 - last)).max() <= 1
        extents.append(last - first + 1)
    assert (np.max(extents, axis=0) == 28).all()


def test_the_split_is_by_class_and_four_to_one(all_glyphs):
    train, evaluation = data.load("glyphs", image_size=32)
    assert not set(train.class_names) & set(evaluation.class_names)
    assert len(train) + len(evaluation) == len(all_glyphs)
    share = len(evaluation.class_names) / len(all_glyphs.class_names)
    assert share == pytest.approx(0.2, abs=0.001)
    again, _ = data.load("glyphs", image_size=32)
    assert again.fingerprint() == train.fingerprint()


def test_globs_choose_scripts(all_glyphs):
    train, evaluation = data.load("glyphs", 32, eval_classes=["*CYRILLIC*", "U+00*"])
    names = evaluation.class_names
    assert {"U+0416 CYRILLIC CAPITAL LETTER ZHE", "U+0026 AMPERSAND"} < set(names)
    assert not any("CYRILLIC" in name for name in train.class_names)


# On a few fonts, what drawing and caching do.


def test_drawing_twice_gives_the_same(few_fonts, monkeypatch, tmp_path):
    first = data.glyphs(32)
    monkeypatch.setenv("KERAS_DISTILL_CACHE", str(tmp_path / "other"))
    second = data.glyphs(32)
    assert first.fingerprint() == second.fingerprint()
    assert 50 < len(first.class_names) < 200


def test_the_cache_is_used_and_one_for_each_size(few_fonts, monkeypatch, tmp_path):
    first = data.glyphs((16, 24))
    assert first.image_shape == (16, 24, 1)
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name.startswith("glyphs-16x24-") and file.suffix == ".npz"
    monkeypatch.setattr(few_fonts, "_draw", lambda *_: pytest.fail("drawn again"))
    assert data.glyphs((16, 24)).fingerprint() == first.fingerprint()


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "wrong"])
def test_a_broken_cache_is_drawn_again(few_fonts, tmp_path, damage):
    first = data.glyphs(16)
    (file,) = (tmp_path / "cache").iterdir()
    if damage == "wrong":
        np.savez(file, something=np.zeros(3))
    else:
        whole = file.read_bytes()
        middle = whole[: len(whole) // 2]
        parts = {"cut": middle, "garbage": b"x" * 5000, "empty": b""}
        file.write_bytes(parts[damage])
    with pytest.warns(UserWarning, match="are broken and are drawn again"):
        second = data.glyphs(16)
    assert second.fingerprint() == first.fingerprint()
    data.glyphs(16)  # now in order, without a warning


def test_a_flipped_byte_in_the_cache_is_noticed(few_fonts, tmp_path):
    first = data.glyphs(16)
    (file,) = (tmp_path / "cache").iterdir()
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3] ^= 255
    file.write_bytes(whole)
    with pytest.warns(UserWarning, match="are broken"):
        assert data.glyphs(16).fingerprint() == first.fingerprint()


def test_a_cache_that_cannot_be_written_is_done_without(
    few_fonts, monkeypatch, tmp_path
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.warns(UserWarning, match=r"cannot be kept.*No space.*another folder"):
        images = data.glyphs(16)
    assert len(images) > 300 and not list((tmp_path / "cache").iterdir())


def test_the_cache_is_where_the_system_keeps_caches(few_fonts, monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_DISTILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data.glyphs(16)
    assert len(list((tmp_path / "xdg" / "keras_distill").glob("glyphs-*"))) == 1


def test_three_channels_are_the_same_thrice(few_fonts):
    one, three = data.glyphs(16), data.glyphs(16, channels=3)
    np.testing.assert_array_equal(np.repeat(one.arrays()[0], 3, 3), three.arrays()[0])


@pytest.mark.parametrize("size", [7, (32, 129)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match="from 8 to 128 pixels.*image_size="):
        data.glyphs(size)


def test_a_few_balanced_epochs_cover_them_although_their_classes_differ_in_size():
    train, _ = data.load("glyphs", image_size=32)
    plan = data.EpochPlan(train.labels, 28, 4)
    times = [np.bincount(plan.epoch(e).ravel(), minlength=len(train)) for e in range(5)]
    covered = (np.cumsum(times, axis=0) > 0).mean(axis=1)
    assert covered[0] > 0.7 and covered[1] > 0.9 and covered[4] > 0.98
