"""Global knowledge of detectors as they are: of keras_hub, and with normalisation."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill.callbacks import PrototypeRefresh
from tests.models.tiny_detectors import SHAPE, images, pictures, retinanet, targets

BOXES = pictures(8, seed=1)


def knowledge(**kwargs):
    options = {"teacher_layer": "pyramid", "level_base": 8.0, "prototypes": 2}
    return kd.GlobalKnowledge(2, "boxes", **{**options, **kwargs})


def of_keras_hub():
    """A RetinaNet of keras_hub from scratch, with the traps of 0.32 seen to."""
    import keras_hub
    from keras_hub.src.models.retinanet import retinanet_label_encoder

    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64] * 4,
        stackwise_num_blocks=[1] * 4,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=SHAPE,
    )
    backbone = keras_hub.models.RetinaNetBackbone(
        encoder, min_level=3, max_level=6, use_p5=True, image_shape=SHAPE
    )
    labels = retinanet_label_encoder.RetinaNetLabelEncoder(
        keras_hub.layers.AnchorGenerator("xyxy", 3, 6, 3, [0.5, 1.0, 2.0], 2),
        bounding_box_format="xyxy",
        encoding_format="center_xywh",
    )
    return keras_hub.models.RetinaNetObjectDetector(
        backbone, num_classes=2, bounding_box_format="xyxy", label_encoder=labels
    )


def test_a_retinanet_of_keras_hub_learns_from_one_of_ours():
    """Its widest maps are 256 wide, and its P6 is not as wide as it says."""
    student = of_keras_hub()
    assert student.backbone.output["P6"].shape[1:3] == (1, 1)  # of 1 x 2 cells
    method = knowledge(student_layer=student.backbone.name)
    distiller = kd.Distiller(student, method, teacher=retinanet())
    distiller.compile(keras.optimizers.SGD(1e-4), run_eagerly=True)
    data = kd.data.box_batches(BOXES, 4).map(
        lambda images, own: (images, {name: own[name] for name in ("boxes", "labels")})
    )
    history = distiller.fit(data, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    for term in ("global", "foreground", "background"):
        assert history[f"global_knowledge_{term}"][0] > 0
    assert history["loss"][0] > history["base_loss"][0]


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_normalisation_shows_instances_as_their_prototypes_are(frozen):
    """As the authors have it; else they follow the batch that is trained on."""
    student = retinanet()
    for layer in student.pyramid.layers:
        if frozen and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    statistics = [np.array(v) for v in student.non_trainable_variables]
    method = knowledge(student_layer="pyramid")
    distiller = kd.Distiller(student, method, teacher=retinanet())
    distiller.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    batch = images(BOXES, range(8)), targets(BOXES, np.arange(8))
    trained, chosen_from = (
        method.features(distiller.views(*batch, training=training))["student"]
        for training in (True, False)
    )
    same = [
        np.allclose(trained[level], chosen_from[level], rtol=1e-5, atol=1e-6)
        for level in trained
    ]
    assert all(same) if frozen else not any(same)
    data = kd.data.box_batches(BOXES, 4, reshuffle=False)
    refresh = PrototypeRefresh(method, data=data)
    distiller.fit(data, verbose=0, callbacks=[refresh])
    kept = [
        np.array_equal(before, after)
        for before, after in zip(
            statistics, student.non_trainable_variables, strict=True
        )
    ]
    assert all(kept) if frozen else not any(kept)
