"""Several images as one query, with a bundle that has a score network."""

import json
import shutil

import numpy as np
import pytest

from keras_distill import device
from keras_distill.device.manifest import file_facts
from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="module")
def bundle():
    return device.open_bundle(tiny_scorer.bundle())


@pytest.fixture
def copy(tmp_path):
    """A copy of the bundle to spoil."""
    return shutil.copytree(tiny_scorer.bundle(), tmp_path / "copy")


@pytest.fixture(scope="module")
def group():
    """Six images, of worths that differ."""
    return tiny_scorer.images()[0][10:16]


def spoil(folder, write, name="golden.npz", **changes):
    """Writes a file of a bundle anew, and its facts and other changes in the manifest.

    Args:
        folder: Path of the bundle.
        write: Function of the path of the file.
        name: Which file.
        **changes: What is changed of the section `group`.
    """
    write(folder / name)
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["files"][name] = file_facts(folder / name)
    manifest["group"].update(changes)
    file.write_text(json.dumps(manifest))


def test_scores_are_those_of_the_int8_file(bundle, group):
    scores = bundle.score(group)
    model = (bundle.path / "score_int8.tflite").read_bytes()
    by_file = device.Scorer(model).score(group)
    np.testing.assert_array_equal(scores, by_file)
    assert bundle.score(group[2]) == scores[2]


def test_the_float_network_scores_where_it_is_chosen(bundle, group):
    exact = device.open_bundle(bundle.path, model="float32")
    expected = np.asarray(tiny_scorer.scorer()(group.astype("float32")))[:, 0]
    np.testing.assert_allclose(exact.score(group), expected, atol=1e-5)
    assert not np.allclose(bundle.score(group), expected, atol=1e-4)


@pytest.mark.parametrize("keep, embedded", [(None, 3), (2, 2), (5, 5), (6, 5), (99, 5)])
def test_is_the_weighted_mean_of_its_images(bundle, group, keep, embedded):
    found = bundle.embed_group(group, keep)
    scores = bundle.score(group)
    # By hand, in float64: stretched over all, the best kept, the worst without weight.
    worth = (scores.astype(np.float64) - scores.min()) / (scores.max() - scores.min())
    best = sorted(range(6), key=lambda i: -worth[i])[: keep or 3]
    worth[[i for i in range(6) if i not in best]] = 0
    rows = bundle.embed(group).astype(np.float64)
    mean = sum(w * row for w, row in zip(worth, rows, strict=True))
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_allclose(found.weights, worth / worth.sum(), atol=1e-6)
    np.testing.assert_allclose(
        found.embedding, mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-6
    )
    assert found.embedded == tuple(np.flatnonzero(worth)) and len(found.embedded) == (
        embedded
    )


def test_the_manifest_says_how_scores_become_weights(group):
    opened = device.open_bundle(tiny_scorer.bundle())
    for options in (
        {"keep": None, "rescale_above": 2, "threshold": 0.7},
        {"keep": None, "rescale_above": 6, "threshold": 0.0},
        {"keep": 4, "rescale_above": 0, "threshold": 0.1},
    ):
        opened.manifest["group"].update(options)
        found = opened.embed_group(group)
        expected = device.group_weights(found.scores, **options)
        np.testing.assert_array_equal(found.weights, expected)
        assert found.embedded == tuple(np.flatnonzero(expected))


def test_only_images_with_weight_are_embedded(group):
    """That is what scoring saves: the embedder is the dear network of the two."""
    opened = device.open_bundle(tiny_scorer.bundle())
    real, counts = opened.embed, []
    opened.embed = lambda images: counts.append(len(images)) or real(images)
    for keep in (None, 1, 6):
        opened.embed_group(group, keep)
    assert counts == [3, 1, 5]


def test_the_order_of_the_images_is_of_no_account(bundle, group):
    order = [4, 0, 5, 2, 1, 3]
    one, other = bundle.embed_group(group), bundle.embed_group(group[order])
    np.testing.assert_allclose(other.embedding, one.embedding, atol=1e-6)
    np.testing.assert_allclose(other.weights, one.weights[order], atol=1e-6)


def test_one_image_is_embedded_as_it_is_alone(bundle, group):
    found = bundle.embed_group(group[:1])
    np.testing.assert_allclose(found.embedding, bundle.embed(group[0]), atol=1e-6)
    assert found.weights == 1 and found.embedded == (0,)


def test_a_pair_weighs_by_its_scores_as_they_are(bundle, group):
    found = bundle.embed_group(group[:2])
    np.testing.assert_allclose(found.weights, found.scores / found.scores.sum())


def test_the_same_image_over_and_over_is_that_image(bundle, group):
    found = bundle.embed_group(np.repeat(group[:1], 4, axis=0), keep=4)
    np.testing.assert_allclose(found.weights, 0.25)
    np.testing.assert_allclose(found.embedding, bundle.embed(group[0]), atol=1e-6)


def test_a_group_is_searched_with_its_embedding(bundle, group):
    ids, scores, found = bundle.search_group(group, k=4, keep=2)
    expected_ids, expected = bundle.search(found.embedding[None], 4)
    assert ids == expected_ids[0] and len(found.embedded) == 2
    np.testing.assert_array_equal(scores, expected[0])
    np.testing.assert_array_equal(
        found.embedding, bundle.embed_group(group, 2).embedding
    )


def test_bad_images_among_good_ones_do_not_lead_astray(bundle):
    """A class of the catalogue with as many images that are almost all noise."""
    rng = np.random.default_rng(0)
    clean = tiny_embedder.images()[0][35:40]
    noise = np.clip(rng.normal(128, 60, clean.shape), 0, 255).astype(np.uint8)
    mixed = np.concatenate([noise[:2], clean[:2], noise[2:], clean[2:]])
    found = bundle.search_group(mixed, k=1, keep=5)
    assert found.ids[0].startswith("pattern07")
    assert set(found.group.embedded) <= {2, 3, 7, 8, 9}


def test_the_golden_group_comes_out_as_it_went_in(bundle):
    found = bundle.check_golden()
    assert found["image_score_difference"] < 1e-6
    assert found["group_weight_difference"] < 1e-6
    assert found["group_cosine"] > 0.99999
    assert found["group_images"] == 5 and found["group_embedded"] == 3
    assert found["images"] == 32 and found["cosine_min"] > 0.99999


@pytest.mark.parametrize(
    "name, change",
    [
        ("image_scores", lambda scores: scores + 0.2),
        ("image_scores", lambda scores: scores * np.nan),
        ("group_weights", lambda weights: weights + 2e-5),
        ("group_scores", lambda scores: scores**2),
        ("group_images", lambda images: 255 - images),
        ("group_embedding", lambda row: -row),
    ],
)
def test_a_golden_group_that_comes_out_otherwise_is_refused(copy, name, change):
    with np.load(copy / "golden.npz") as stored:
        golden = dict(stored)
    golden[name] = change(golden[name])
    spoil(copy, lambda path: np.savez(path, **golden))
    with pytest.raises(device.BundleError, match="golden group must.*Received"):
        device.open_bundle(copy).check_golden()


def test_other_options_than_the_golden_ones_are_refused(copy):
    for options in ({"keep": 1}, {"rescale_above": 7}, {"threshold": 0.99}):
        spoil(copy, lambda path: None, keep=3, rescale_above=2, threshold=0.0)
        device.open_bundle(copy).check_golden()
        spoil(copy, lambda path: None, **options)
        with pytest.raises(device.BundleError, match="golden group must"):
            device.open_bundle(copy).check_golden()


@pytest.mark.parametrize("name", ["score_f32.tflite", "score_int8.tflite"])
def test_a_score_file_that_is_altered_cut_short_or_gone_is_refused(copy, name):
    file = copy / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    file.write_bytes(content)
    with pytest.raises(device.BundleError, match=f"altered.*Received: '{name}'"):
        device.open_bundle(copy)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(device.BundleError, match=f"altered.*Received: '{name}'"):
        device.open_bundle(copy)
    file.unlink()
    with pytest.raises(device.BundleError, match=f"missing. Received: '{name}'"):
        device.open_bundle(copy)


def test_a_score_file_that_is_another_network_is_refused(copy, tmp_path):
    embedder = tiny_embedder.converted("int8")
    spoil(copy, lambda path: path.write_bytes(embedder), "score_int8.tflite")
    with pytest.raises(ValueError, match=r"one score.*float32\[1, 16\]"):
        device.open_bundle(copy)
    spoil(copy, lambda path: path.write_bytes(embedder[:999]), "score_int8.tflite")
    with pytest.raises(ValueError, match="cannot run this model"):
        device.open_bundle(copy)


def test_a_score_network_of_another_size_is_refused(copy):
    import keras

    from keras_distill import tflite

    inputs = keras.Input((16, 16, 1))
    score = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(inputs))
    model = tflite.convert_scorer(keras.Model(inputs, score))
    spoil(copy, lambda path: path.write_bytes(model), "score_int8.tflite")
    with pytest.raises(
        device.BundleError, match=r"\(32, 32, 1\). Received: \(16, 16, 1\)"
    ):
        device.open_bundle(copy)


def test_a_bundle_without_a_scorer_says_so(group):
    plain = device.open_bundle(tiny_embedder.bundle())
    for ask in (plain.score, plain.embed_group, plain.search_group):
        with pytest.raises(ValueError, match="no score network.*Received: /"):
            ask(group)
    assert "group_cosine" not in plain.check_golden()


def test_refuses_and_says_what_it_got(bundle, group):
    for images in (group[:0], group[0], np.zeros((0,), np.uint8)):
        with pytest.raises(ValueError, match="at least one image.*images.shape="):
            bundle.embed_group(images)
    with pytest.raises(TypeError, match="uint8.*images.dtype=float32"):
        bundle.embed_group(group.astype("float32"))
    with pytest.raises(ValueError, match=r"\(32, 32, 1\).*shape=\(6, 16, 16, 1\)"):
        bundle.embed_group(group[:, :16, :16])
    for keep in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"positive integer.*keep={keep}"):
            bundle.embed_group(group, keep)
    with pytest.raises(ValueError, match="from 1 to 120.*k=0"):
        bundle.search_group(group, k=0)
