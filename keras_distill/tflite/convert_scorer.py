"""From a Keras network that scores images to the bytes of a .tflite."""

from keras_distill.tflite.from_keras import check_mode, from_keras, image_network

SCORE_SIGNATURE, SCORE = "score", "score"
# What a phone is given: a scorer is small, and in 8 bits needs its head in float.
SCORER_MODES = ("float32", "int8")


def convert_scorer(scorer, mode="float32", calibration=None):
    """Converts a network that gives each image one score to TensorFlow Lite.

    The file has one signature, `score(image: uint8[1, height, width, channels]) ->
    score: float32[1, 1]`. As int8, all is in 8 bits up to the operator that computes
    the one number: eight bits are 256 steps over the largest range that the logit
    ever takes, and the scores of one group, whose order and distances are all that
    matters, may share a handful of them. It has as many weights as it has inputs,
    so that keeping it in float costs next to nothing.

    Args:
        scorer: Built `keras.Model` from images in [0, 255], `(batch, height, width,
            channels)` with all but the batch known, to scores `(batch, 1)` in
            [0, 1]. Layers in half precision are converted in float32.
        mode: `"float32"` or `"int8"`. Defaults to `"float32"`.
        calibration: uint8 array `(count, height, width, channels)`, needed by
            `"int8"`: images of the kind that will be scored, the bad ones among
            them too, for they set the range of each activation.

    Returns:
        Bytes. They are not checked: see `keras_distill.tflite.verify_scorer`.

    Raises:
        ValueError: If `mode` is unknown, if `calibration` is missing or of another
            shape than the scorer's images, or if the scorer gives something else.
        TypeError: If `scorer` is no `keras.Model` or `calibration` is not uint8.
    """
    check_mode(mode, SCORER_MODES)
    scorer = check_scorer(scorer)
    return from_keras(
        scorer, mode, calibration, SCORE_SIGNATURE, SCORE, float_head=True
    )


def check_scorer(scorer):
    """`scorer`, if it is a `keras.Model` from images to one number each."""
    return image_network(scorer, "scorer", "scores (batch, 1)", dim=1)
