"""What a score network adds to a bundle."""

import json

import keras
import numpy as np
import pytest
from scipy import stats

from keras_distill import device, tflite
from keras_distill.layers import RandomDegradation
from keras_distill.retrieval import write_bundle
from keras_distill.retrieval.group_part import spoilt
from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="module")
def manifest():
    return json.loads((tiny_scorer.bundle() / "manifest.json").read_text())


@pytest.fixture(scope="module")
def golden():
    with np.load(tiny_scorer.bundle() / "golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture
def at_once(monkeypatch):
    """Converting takes seconds and is tested elsewhere; what it is asked is kept."""
    asked = []

    def convert_scorer(scorer, mode, calibration):
        asked.append(calibration)
        return scores[mode]

    rows = {mode: tiny_embedder.converted(mode) for mode in tflite.SCORER_MODES}
    scores = {mode: tiny_scorer.converted(mode) for mode in tflite.SCORER_MODES}
    monkeypatch.setattr(tflite, "convert", lambda student, mode, _: rows[mode])
    monkeypatch.setattr(tflite, "convert_scorer", convert_scorer)
    return asked


def write(out, **changes):
    arguments = {
        "student": tiny_embedder.student(),
        "calibration": tiny_embedder.calibration(),
        "catalogue": tiny_embedder.catalogue(),
        "scorer": tiny_scorer.scorer(),
    }
    return write_bundle(out, **{**arguments, **changes})


def test_the_manifest_says_how_a_group_becomes_a_query(manifest):
    group = manifest["group"]
    assert group["signature"] == "score"
    assert group["output"] == {"name": "score", "dtype": "float32", "range": [0, 1]}
    assert group["scorer"] == {"name": "tiny"}
    assert (group["keep"], group["rescale_above"], group["threshold"]) == (3, 2, 0.0)
    assert group["calibration"] == {"images": 120}
    files = {mode: facts["file"] for mode, facts in group["models"].items()}
    assert files == {"float32": "score_f32.tflite", "int8": "score_int8.tflite"}
    assert set(files.values()) <= set(manifest["files"])
    assert manifest["format_version"] == 1  # what knows no groups reads it as before


def test_a_bundle_without_a_scorer_is_as_it_ever_was(manifest, golden):
    plain = tiny_embedder.bundle()
    before = json.loads((plain / "manifest.json").read_text())
    assert set(manifest) - set(before) == {"group"}
    assert set(manifest["files"]) - set(before["files"]) == {
        "score_f32.tflite",
        "score_int8.tflite",
    }
    with np.load(plain / "golden.npz") as file:
        assert set(file) == {"image_ids", "images", "embeddings", "ids", "scores"}
        for name in file:
            np.testing.assert_array_equal(golden[name], file[name])


def test_the_figures_are_those_of_the_files_on_spoilt_images(manifest):
    held_out = spoilt(tiny_embedder.images()[0], RandomDegradation(), seed=1)
    by_keras = np.asarray(tiny_scorer.scorer()(held_out.astype("float32")))[:, 0]
    for facts in manifest["group"]["models"].values():
        model = (tiny_scorer.bundle() / facts["file"]).read_bytes()
        scores = device.Scorer(model).score(held_out)
        differences = np.abs(scores - by_keras)
        correlation = stats.spearmanr(scores, by_keras).statistic
        assert facts["bytes"] == len(model) and facts["images"] == 120
        assert facts["difference_max"] == pytest.approx(differences.max(), abs=1e-6)
        assert facts["difference_mean"] == pytest.approx(differences.mean(), abs=1e-6)
        assert facts["rank_correlation"] == pytest.approx(correlation, abs=1e-6)
        assert 0 < facts["milliseconds"] < 1000
    assert manifest["group"]["models"]["int8"]["rank_correlation"] > 0.998


def test_the_golden_file_scores_its_images(golden):
    opened = device.open_bundle(tiny_scorer.bundle())
    scores = opened.score(golden["images"])
    np.testing.assert_allclose(golden["image_scores"], scores, atol=1e-6)
    assert np.ptp(scores) > 0.05


def test_the_golden_group_is_one_of_its_images_with_the_neighbours(golden):
    opened = device.open_bundle(tiny_scorer.bundle())
    members = [image.tobytes() for image in golden["group_images"]]
    catalogue = [image.tobytes() for image in tiny_embedder.images()[0]]
    ids = [opened.ids[catalogue.index(member)] for member in members]
    assert ids in golden["ids"].tolist()
    scores = opened.score(golden["group_images"])
    np.testing.assert_allclose(golden["group_scores"], scores, atol=1e-6)
    # Of all such groups it is the one whose scores differ most.
    spreads = []
    for row in golden["ids"]:
        images = tiny_embedder.images()[0][[opened.ids.index(name) for name in row]]
        spreads.append(np.ptp(opened.score(images)))
    assert np.ptp(scores) == pytest.approx(max(spreads), abs=1e-6)
    # By hand: stretched, the best three, the mean of length one.
    worth = (scores - scores.min()) / np.ptp(scores)
    worth[np.argsort(-worth)[3:]] = 0
    np.testing.assert_allclose(golden["group_weights"], worth / worth.sum(), atol=1e-5)
    mean = worth @ opened.embed(golden["group_images"])
    np.testing.assert_allclose(
        golden["group_embedding"], mean / np.linalg.norm(mean), atol=1e-5
    )


def test_some_images_are_spoilt_the_same_ones_each_time():
    images = tiny_embedder.images()[0]
    layer = RandomDegradation()
    first, again, other = (spoilt(images, layer, seed) for seed in (0, 0, 1))
    assert (first.dtype, first.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    changed = (first != images).any(axis=(1, 2, 3))
    assert 0.3 < changed.mean() < 0.7
    # In one go it is the same as in batches.
    draws = np.random.default_rng(0).uniform(-1, 1, (120, layer.draws_per_image))
    whole = layer(images.astype("float32"), training=True, draws=draws)
    np.testing.assert_allclose(first, np.rint(whole), atol=1)


def test_the_callers_degradation_makes_the_images(at_once, tmp_path):
    black = RandomDegradation(0, 0, 0, 1, 0, share=1.0, shot_noise=0)
    none = RandomDegradation(share=0.0)
    wide = dict(max_score_difference=1, max_score_difference_mean=1)
    write(tmp_path / "a", degradation=none, **wide)
    np.testing.assert_array_equal(at_once[0], tiny_embedder.calibration())
    write(tmp_path / "b", degradation=black, **wide)
    assert at_once[-1].mean() < 0.7 * tiny_embedder.calibration().mean()


def test_a_score_file_that_fails_a_check_is_not_written(at_once, tmp_path):
    with pytest.raises(tflite.VerificationError, match="0.001 at worst") as caught:
        write(tmp_path / "out", max_score_difference=1e-3)
    assert caught.value.check == "difference"
    with pytest.raises(tflite.VerificationError, match="1e-05 on average"):
        write(tmp_path / "out", max_score_difference_mean=1e-5)
    with pytest.raises(tflite.VerificationError, match="at least 0.99999") as caught:
        write(tmp_path / "out", min_rank_correlation=0.99999)
    assert caught.value.check == "rank"
    assert list(tmp_path.iterdir()) == []


def test_options_are_kept_and_a_catalogue_of_two_has_a_group(at_once, tmp_path):
    catalogue = tiny_embedder.catalogue().subset([0, 50])
    options = dict(keep=1, rescale_above=5, threshold=0.25)
    steps = []
    manifest = write(
        tmp_path / "out",
        catalogue=catalogue,
        held_out=tiny_embedder.images()[0],
        progress=lambda *step: steps.append(step),
        **options,
    )
    assert {name: manifest["group"][name] for name in options} == options
    assert ("Converting the scorer", 2, 2) in steps
    opened = device.open_bundle(tmp_path / "out")
    found = opened.check_golden()
    assert found["group_images"] == 2 and found["group_embedded"] == 1
    images = tiny_embedder.images()[0][:4]
    assert len(opened.embed_group(images).embedded) == 1
    assert len(opened.embed_group(images, keep=4).embedded) == 4  # not stretched


def refuse_to_convert(*args):
    raise AssertionError("it should have been refused before")


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"scorer": None, "keep": 2}, ValueError, "need a `scorer`.*with keep"),
        (
            {"scorer": None, "threshold": 0.5, "degradation": RandomDegradation()},
            ValueError,
            "scorer=None with threshold, degradation",
        ),
        ({"keep": 0}, ValueError, "keep=0"),
        ({"threshold": 1.0}, ValueError, "threshold=1.0"),
        ({"rescale_above": -1}, ValueError, "rescale_above=-1"),
        ({"scorer": "scorer.keras"}, TypeError, "scorer='scorer.keras'"),
        ({"scorer": "other"}, ValueError, r"\(32, 32, 1\).*\(None, 16, 16, 1\)"),
    ],
)
def test_refuses_before_it_begins(changes, error, message, monkeypatch, tmp_path):
    monkeypatch.setattr(tflite, "convert", refuse_to_convert)
    if changes.get("scorer") == "other":
        inputs = keras.Input((16, 16, 1))
        flat = keras.layers.Flatten()(inputs)
        changes = {"scorer": keras.Model(inputs, keras.layers.Dense(1)(flat))}
    with pytest.raises(error, match=message):
        write(tmp_path / "out", **changes)
