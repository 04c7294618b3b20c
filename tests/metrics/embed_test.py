import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data.image_set import ImageSet
from keras_distill.metrics import Embedder, embed

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, size=(23, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(23, dtype=np.int32) % 5


@keras.saving.register_keras_serializable(package="tests")
class CountTraces(keras.layers.Layer):
    """Counts how often Python runs through it: once a trace."""

    traces = 0

    def call(self, x):
        self.traces += 1
        return x


def embedder(*layers):
    keras.utils.set_random_seed(0)
    start = [keras.layers.Input((4, 4, 1)), CountTraces(), keras.layers.Flatten()]
    return keras.Sequential([*start, *(layers or [keras.layers.Dense(3)])])


def by_hand(model):
    """One image at a time."""
    return np.concatenate([model(row[None].astype("float32")) for row in IMAGES])


@pytest.mark.parametrize(
    "images",
    [
        (IMAGES, LABELS),
        [IMAGES.tolist(), LABELS.tolist()],
        tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(6),
        tf.data.Dataset.from_tensor_slices((IMAGES, LABELS[:, None])).batch(50),
        ImageSet(IMAGES, LABELS),
    ],
    ids=["arrays", "lists", "dataset", "labels of rank 2", "image set"],
)
@pytest.mark.parametrize("batch_size", [7, 256])
def test_embeds_in_order_whatever_the_container(images, batch_size):
    model = embedder()
    embeddings, labels = embed(model, images, batch_size)
    assert embeddings.dtype == np.float32 and embeddings.shape == (23, 3)
    np.testing.assert_allclose(embeddings, by_hand(model), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(labels, LABELS)


def test_traces_once_and_sees_new_weights():
    model = embedder()
    counter = model.layers[0]
    again = Embedder(model)
    before = counter.traces
    first, _ = again((IMAGES, LABELS), 10)  # 10, 10 and 3 images
    model.set_weights([2 * w for w in model.get_weights()])
    second, _ = again((IMAGES, LABELS), 10)
    np.testing.assert_allclose(second, 2 * first, rtol=1e-5)
    assert counter.traces == before + 1


def test_takes_the_student_of_a_distiller():
    model = embedder()

    class Outer:
        student = model

    outer, _ = embed(Outer(), (IMAGES, LABELS))
    np.testing.assert_array_equal(outer, embed(model, (IMAGES, LABELS))[0])


def test_is_in_inference_mode_and_leaves_no_trace():
    layers = keras.layers
    model = embedder(layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3))
    before = [v.numpy().copy() for v in model.variables]
    np.random.seed(3)
    first, _ = embed(model, (IMAGES, LABELS))
    second, _ = embed(model, (IMAGES, LABELS))
    np.testing.assert_array_equal(first, second)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_mixed_precision_gives_float32_rows():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = embedder(keras.layers.Rescaling(1 / 255), keras.layers.Dense(3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.layers[-1].compute_dtype == "float16"
    assert embed(model, (IMAGES, LABELS))[0].dtype == np.float32


@pytest.mark.parametrize(
    "layer, message",
    [
        (keras.layers.Reshape((4, 4)), r"one embedding an image.*shape=\(23, 4, 4\)"),
        (keras.layers.Lambda(lambda x: [x, x]), r"one embedding an image.*output=\["),
        (keras.layers.Lambda(lambda x: x[:5]), r"23 images, 5 embeddings"),
    ],
)
def test_refuses_other_outputs(layer, message):
    with pytest.raises(ValueError, match=message):
        embed(embedder(layer), (IMAGES, LABELS))


DATASET = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))


@pytest.mark.parametrize(
    "images, error, message",
    [
        (IMAGES, TypeError, r"Images come as.*Received: array"),
        (
            DATASET.map(lambda x, y: x).batch(4),
            TypeError,
            "Images come as.*_BatchDataset",
        ),
        (DATASET.batch(4).repeat(), ValueError, "must come to an end.*_RepeatDataset"),
        (DATASET.take(0).batch(4), ValueError, "no images to embed.*_BatchDataset"),
        ((IMAGES[:0], LABELS[:0]), ValueError, "no images to embed"),
        ((IMAGES, LABELS[:3]), ValueError, r"same length.*\(23, 4, 4, 1\).*\(3,\)"),
        (ImageSet(IMAGES, LABELS).batches(4).map(lambda x, y: (x, y[:1])),)
        + (ValueError, "one label an image.*1 labels for 4"),
        ((IMAGES, np.eye(23)), ValueError, r"`labels` must have shape.*\(23, 23\)"),
    ],
)
def test_refuses_other_images(images, error, message):
    with pytest.raises(error, match=message):
        embed(embedder(), images)


def test_refuses_a_batch_of_no_images():
    with pytest.raises(ValueError, match="positive integer.*batch_size=0"):
        embed(embedder(), (IMAGES, LABELS), 0)
