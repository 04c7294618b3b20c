import numpy as np
import pytest

from keras_distill import group_pooling
from keras_distill.device import group_weights

rng = np.random.default_rng(0)
GROUPS = {
    "of five": rng.uniform(size=5),
    "of seventeen": rng.uniform(size=17),
    "of many near each other": 0.6 + 1e-4 * rng.uniform(size=9),
    "with two best": [0.2, 0.9, 0.4, 0.9, 0.3],
    "with two worst": [0.1, 0.9, 0.4, 0.1],
    "all equal": [0.7] * 4,
    "all zero": [0.0] * 4,
    "a pair": [0.3, 0.9],
    "an equal pair": [0.4, 0.4],
    "a pair of zeros": [0.0, 0.0],
    "a pair with a zero": [0.0, 0.3],
    "a pair with less than nothing": [-0.2, 0.5],
    "of three": [0.9, 0.9, 0.91],
    "with one at the threshold": [0.0, 0.5, 1.0, 0.75],
    "of one": [0.3],
    "of one without worth": [0.0],
    "of none": [],
}


@pytest.mark.parametrize("keep", [None, 1, 2, 3, 50])
@pytest.mark.parametrize("rescale_above, threshold", [(2, 0), (0, 0), (4, 0), (2, 0.5)])
@pytest.mark.parametrize("name", GROUPS)
def test_is_what_the_keras_layers_have(name, rescale_above, threshold, keep):
    scores = np.asarray(GROUPS[name], np.float32)
    options = dict(rescale_above=rescale_above, threshold=threshold, keep=keep)
    weights = group_weights(scores, **options)
    expected = np.asarray(group_pooling.group_weights(scores[None], **options))[0]
    assert (weights.dtype, weights.shape) == (np.float32, scores.shape)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_array_equal(weights > 0, expected > 0)


@pytest.mark.parametrize("file", ["ddl_aggregate_authors"])
def test_is_the_reference(reference, file):
    stored = reference(file)
    options = dict(
        rescale_above=int(stored["rescale_above"]),
        threshold=float(stored["threshold"]) if stored["threshold"] > 0 else 0.0,
    )
    for scores, mask, expected in zip(
        stored["scores"], stored["mask"], stored["weights"], strict=True
    ):
        weights = group_weights(scores[mask], **options)
        np.testing.assert_allclose(weights, expected[mask], rtol=1e-5, atol=1e-6)


def test_by_hand():
    np.testing.assert_allclose(
        group_weights([0.2, 0.6, 0.4]), [0, 2 / 3, 1 / 3], atol=1e-6
    )
    np.testing.assert_allclose(group_weights([0.2, 0.6]), [0.25, 0.75], atol=1e-6)
    # Stretched over all of the group, whatever is kept of it.
    np.testing.assert_allclose(
        group_weights([0.1, 0.5, 0.3, 0.4], keep=2), [0, 4 / 7, 0, 3 / 7], atol=1e-6
    )
    np.testing.assert_allclose(
        group_weights([0.1, 0.5, 0.3, 0.4], threshold=0.6),
        [0, 4 / 7, 0, 3 / 7],
        atol=1e-6,
    )
    np.testing.assert_array_equal(group_weights([0.5, 0.9, 0.9], keep=1), [0, 1, 0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scores": [[0.1]]}, r"shape \(count,\).*scores=\[\[0.1"),
        ({"scores": [0.1, np.nan]}, "must be finite.*nan"),
        ({"rescale_above": -1}, "not negative.*rescale_above=-1"),
        ({"threshold": 1.0}, r"\[0, 1\).*threshold=1.0"),
        ({"threshold": np.nan}, "threshold=nan"),
        ({"keep": 0}, "positive integer.*keep=0"),
        ({"keep": True}, "keep=True"),
        ({"keep": 2.0}, "keep=2.0"),
    ],
)
def test_refuses_and_says_what_it_got(options, message):
    with pytest.raises(ValueError, match=message):
        group_weights(**{"scores": [0.1, 0.2], **options})
