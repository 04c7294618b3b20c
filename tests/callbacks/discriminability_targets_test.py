"""One pass says how discriminable every row is, and refuses rows that change."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill.callbacks import DiscriminabilityTargets
from keras_distill.methods.ddl import discriminability
from tests.ddl.proxy import compiled, dataset, embedder, patterns

IMAGES, LABELS = patterns()
COUNT = len(IMAGES)


def begun(data, ddl=None, **kwargs):
    """The callback, as it is when training has begun."""
    callback = DiscriminabilityTargets(data, **kwargs)
    keras.callbacks.CallbackList([callback], model=ddl or compiled()).on_train_begin()
    return callback


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("option", [{}, {"floor": 0.9}, {"leave_one_out": True}])
def test_it_says_of_each_row_how_discriminable_it_is(option, shuffle):
    ddl = compiled(**option)
    rows = np.random.default_rng(1).permutation(COUNT)
    found = begun(dataset(IMAGES, LABELS, 7, rows=rows, shuffle=shuffle), ddl)
    features = np.array(ddl.embedder(IMAGES, training=False))
    expected = discriminability(features, LABELS, **option)
    assert found.mean == pytest.approx(expected.mean, rel=1e-5)
    assert found.std == pytest.approx(expected.std, rel=1e-4)
    np.testing.assert_array_equal(found.labels[rows], LABELS)
    np.testing.assert_array_equal(found.valid[rows], expected.valid)
    np.testing.assert_allclose(found.ratio[rows], expected.ratio, rtol=1e-5)
    np.testing.assert_allclose(found.indicator[rows], expected.indicator, rtol=1e-4)


def test_centroids_are_of_features_as_they_come_or_of_length_one():
    net = embedder()
    net = keras.Model(net.input, net.get_layer("projection").output)
    features, ratios = np.array(net(IMAGES, training=False)), []
    for centroids in ("raw", "unit"):
        ddl = compiled(embed=net, centroids=centroids)
        ratios.append(begun(dataset(IMAGES, LABELS), ddl).ratio)
        expected = discriminability(features, LABELS, centroids=centroids).ratio
        np.testing.assert_allclose(ratios[-1], expected, rtol=1e-4)
    assert np.abs(ratios[0] - ratios[1]).max() > 1e-3


def test_it_asks_the_embedder_in_inference_mode():
    net = embedder(extra=layers.Dropout(0.5))
    found = begun(dataset(IMAGES, LABELS), compiled(embed=net))
    expected = discriminability(np.array(net(IMAGES, training=False)), LABELS)
    np.testing.assert_allclose(found.indicator, expected.indicator, rtol=1e-4)


def test_what_drowns_in_noise_is_less_discriminable():
    indicator = begun(dataset(*patterns(per_class=8))).indicator.reshape(5, 8)
    assert indicator[:, :3].mean() > indicator[:, -3:].mean() + 0.2


def test_a_loop_of_batches_can_run_it():
    ddl = compiled(run_eagerly=True)
    begun(dataset(IMAGES, LABELS), ddl)
    batch = {"image": IMAGES, "row": np.arange(COUNT)}
    assert np.isfinite(ddl.train_on_batch(batch, LABELS)).all()


def test_it_belongs_to_a_ddl():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    with pytest.raises(TypeError, match="belongs to the `fit` of a DDL.*Sequential"):
        begun(dataset(IMAGES, LABELS), model)


def test_views_of_images_come_with_their_rows():
    pixels = np.clip(IMAGES, 0, 255).astype("uint8")
    images = kd.data.ImageSet(pixels, LABELS)
    views = kd.data.FixedViews(kd.layers.RandomAffine(rotation=90.0), count=3)
    data = kd.data.proxy_views(images, views, batch_size=16)
    ddl = compiled(run_eagerly=True)
    found = begun(data, ddl)
    np.testing.assert_array_equal(found.labels, np.tile(LABELS, 3))
    pixels = views.of(images)(np.tile(np.arange(COUNT), 3), np.arange(3).repeat(COUNT))
    features = np.array(ddl.embedder(pixels, training=False))
    expected = discriminability(features, found.labels).indicator
    np.testing.assert_allclose(found.indicator, expected, rtol=1e-3)
    ddl.fit(data, epochs=2, verbose=0)


def drawn_anew(part):
    """Draws the brightness of a part of the rows anew in every pass, by 2 %."""

    def brighten(inputs, labels):
        factors = tf.random.uniform(tf.shape(labels), 0.98, 1.02)
        factors = tf.where(inputs["row"] < int(part * COUNT), factors, 1.0)
        image = inputs["image"] * factors[:, None, None, None]
        return {**inputs, "image": image}, labels

    return dataset(IMAGES, LABELS).map(brighten)


@pytest.mark.parametrize("part", [1.0, 0.3])
def test_refuses_rows_that_show_other_pixels_in_another_pass(part):
    message = "same pixels in every pass.*FixedViews.*other pixels for .* such as row"
    with pytest.raises(ValueError, match=message):
        begun(drawn_anew(part))


def test_the_last_bit_of_the_pixels_may_change():
    begun(dataset(IMAGES, LABELS).map(lambda x, y: ({**x, "image": last_bit(x)}, y)))


def last_bit(inputs):
    signs = tf.random.uniform(tf.shape(inputs["image"]), -1, 1)
    return inputs["image"] * (1 + 1e-6 * signs)


@pytest.mark.parametrize("where", ["train", "validation"])
def test_refuses_other_pixels_than_those_of_the_data_set_that_is_fitted(where):
    data, other = dataset(IMAGES, LABELS), dataset(IMAGES[::-1], LABELS[::-1])
    targets = DiscriminabilityTargets(data, validation=data)
    train, held_out = (other, data) if where == "train" else (data, other)
    with pytest.raises(ValueError, match="other pixels for 8 of 8 images"):
        compiled().fit(train, validation_data=held_out, callbacks=[targets], verbose=0)


def test_refuses_rows_of_the_fitted_data_set_that_were_not_in_the_pass():
    targets = DiscriminabilityTargets(dataset(IMAGES[:24], LABELS[:24]))
    data = dataset(IMAGES, LABELS, COUNT, shuffle=False)
    with pytest.raises(ValueError, match=r"known of rows 0..23.*a batch with row 24"):
        compiled().fit(data, callbacks=[targets], verbose=0)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([*range(29), 7], "each row once.*row 7 twice within 30 images"),
        ([*range(1, 31)], "from 0, each once.*rows from 1 to 30, without 0"),
        ([*range(29), 400], "from 0, each once.*rows from 0 to 400, without 29"),
        ([-1, *range(29)], "from 0, each once.*rows from -1 to 28, without 29"),
    ],
    ids=["twice", "from one", "gap", "negative"],
)
def test_refuses_rows_that_do_not_number_the_images(rows, message):
    with pytest.raises(ValueError, match=message):
        begun(dataset(IMAGES, LABELS, rows=rows, shuffle=False))


def test_refuses_data_without_an_end_before_any_is_read():
    def explode():
        raise AssertionError("was read")

    data = dataset(IMAGES, LABELS)
    endless = tf.data.Dataset.from_generator(
        explode, output_signature=data.element_spec
    ).repeat()
    with pytest.raises(ValueError, match="`proxy` must come to an end.*proxy=<"):
        DiscriminabilityTargets(endless)
    with pytest.raises(ValueError, match="`validation` must come to an end"):
        DiscriminabilityTargets(data, validation=endless)


def test_data_that_do_not_say_that_they_have_no_end_stop_at_a_row_come_twice():
    def forever():
        while True:
            yield from data

    data = dataset(IMAGES, LABELS)
    endless = tf.data.Dataset.from_generator(
        forever, output_signature=data.element_spec
    )
    with pytest.raises(ValueError, match="twice within 31 images"):
        begun(endless)


def test_refuses_a_data_set_without_images():
    with pytest.raises(ValueError, match="has no images"):
        begun(dataset(IMAGES, LABELS).take(0))


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (IMAGES, LABELS * 0, r"two classes or more.*classes=\[0\]"),
        (IMAGES, np.arange(COUNT), "two elements or more.*30 rows of 30 classes"),
        # Of two classes each is as far from the other as that is from it.
        (
            np.repeat(IMAGES[[0, 6]], 15, axis=0),
            np.repeat([0, 1], 15),
            "must differ in how discriminable.*degraded.*30 rows, all.* indicator 0.5",
        ),
    ],
    ids=["one class", "one image a class", "all alike"],
)
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_refuses_a_proxy_set_that_teaches_nothing(
    images, labels, message, leave_one_out
):
    ddl = compiled(leave_one_out=leave_one_out)
    with pytest.raises(ValueError, match=message):
        begun(dataset(images, labels), ddl)


def test_refuses_embeddings_that_are_not_finite():
    images = np.copy(IMAGES)
    images[3] = np.nan
    message = "finite numbers.*embedder='net', of 30 embeddings 1 are not"
    net = embedder()
    net.name = "net"
    with pytest.raises(ValueError, match=message):
        begun(dataset(images, LABELS), compiled(embed=net))


WANTED = r"`proxy` must be a tf.data.Dataset of batches \(\{'image'.*proxy_views"


@pytest.mark.parametrize("data", [None, IMAGES, [IMAGES, LABELS]], ids=str)
def test_refuses_what_is_no_data_set(data):
    with pytest.raises(TypeError, match=f"{WANTED}.*of type {type(data).__name__}"):
        DiscriminabilityTargets(data)
    with pytest.raises(TypeError, match="`validation` must be a tf.data.Dataset"):
        DiscriminabilityTargets(dataset(IMAGES, LABELS), validation=IMAGES)


def tensors(*parts):
    return tf.data.Dataset.from_tensors(parts)


ROWS = np.arange(COUNT)
BATCH = {"image": IMAGES, "row": ROWS}
UNKNOWN = tf.data.Dataset.from_generator(
    lambda: [],
    output_signature=(
        {
            "image": tf.TensorSpec((None, None, None, 1), tf.float32),
            "row": tf.TensorSpec((None,), tf.int64),
        },
        tf.TensorSpec((None,), tf.int64),
    ),
)


@pytest.mark.parametrize(
    "data, message",
    [
        (tensors(IMAGES, LABELS), ""),
        (tensors({"image": IMAGES}, LABELS), ""),
        (tensors({"row": ROWS}, LABELS), ""),
        (tf.data.Dataset.from_tensors(BATCH), ""),
        (tensors(BATCH, {"label": LABELS}), ""),
        (tensors(BATCH, LABELS.astype("f4")), "Rows and labels are integers"),
        (tensors(BATCH, np.array([str(x) for x in LABELS])), "labels are integers"),
        (tensors({**BATCH, "row": ROWS / 1.0}, LABELS), "Rows and labels are"),
        (tensors(BATCH, LABELS[:, None]), ""),
        (dataset(IMAGES, LABELS).unbatch(), ""),
        (UNKNOWN, "Height, width and channels must be known"),
    ],
    ids=[
        "arrays",
        "no rows",
        "no images",
        "no labels",
        "dictionary of labels",
        "float labels",
        "names for labels",
        "float rows",
        "one-hot",
        "not batched",
        "images of any size",
    ],
)
def test_refuses_data_sets_of_another_form(data, message):
    with pytest.raises(ValueError, match=f"{WANTED}.*{message}.*proxy.element_spec="):
        DiscriminabilityTargets(data)


@pytest.mark.parametrize("verbose, bars", [(0, 0), (2, 2)])
def test_a_bar_is_shown_where_fit_is_verbose(verbose, bars, monkeypatch, capsys):
    shown = []

    def progress(items, total, description):
        shown.append(total)
        return items

    monkeypatch.setattr("keras_distill.callbacks.proxy_pass.progress", progress)
    data = dataset(IMAGES, LABELS, 10)
    ddl = compiled(run_eagerly=True)
    ddl.fit(data, validation_data=data, verbose=verbose)
    assert shown == [3] * bars
