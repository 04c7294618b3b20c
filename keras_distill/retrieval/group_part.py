"""The part of a bundle that makes several images one query: a score network."""

import dataclasses

import numpy as np

from keras_distill import tflite
from keras_distill.device.scorer import Scorer
from keras_distill.similarity import normalize
from keras_distill.tflite.convert_scorer import check_scorer

FILES = {"float32": "score_f32.tflite", "int8": "score_int8.tflite"}
# How a device pools where nobody says otherwise.
DEFAULTS = {"keep": None, "rescale_above": 2, "threshold": 0.0}
_BATCH = 128


@dataclasses.dataclass(frozen=True)
class GroupPart:
    """A score network that was converted and verified.

    Attributes:
        models: Dictionary from the mode to the bytes of the .tflite.
        section: Dictionary, what the manifest says of it.
    """

    models: dict
    section: dict

    def write(self, folder):
        """Writes the files of the network into the folder of a bundle."""
        for mode, model in self.models.items():
            (folder / FILES[mode]).write_bytes(model)

    def golden(self, catalogue, chosen, neighbours, rows):
        """Scores of the golden images, and a golden group.

        The group is one of the golden images with its neighbours, as the pictures of
        one thing are: the one whose scores differ most, for near ties weigh
        differently on every runtime.

        Args:
            catalogue: The `ImageSet` of the bundle.
            chosen: Integers `(count,)`, which of its images are golden.
            neighbours: Integers `(count, k)`, the nearest of each.
            rows: float32 array `(N, dim)`, the embeddings of the catalogue.

        Returns:
            Dictionary of arrays: `image_scores (count,)`, `group_images`,
            `group_scores`, `group_weights`, `group_embedding (dim,)`.
        """
        scorer = Scorer(self.models["int8"])
        # Each image is read and scored once, in whichever lists it is.
        needed, places = np.unique(
            np.concatenate([chosen, neighbours.ravel()]), return_inverse=True
        )
        images = catalogue.read(needed)
        scores = scorer.score(images)
        groups = places[len(chosen) :].reshape(neighbours.shape)
        group = groups[np.argmax(np.ptp(scores[groups], axis=1))]
        return {
            "image_scores": scores[places[: len(chosen)]],
            **golden_group(
                images[group], rows[needed[group]], scores[group], self.section
            ),
        }


def golden_group(images, rows, scores, options):
    """What a group of images gives, to check a device with.

    Args:
        images: uint8 array of the images of the group.
        rows: float32 array `(count, dim)`, their embeddings.
        scores: float32 array `(count,)`, their scores.
        options: Dictionary that has `DEFAULTS`' names.

    Returns:
        Dictionary of arrays: `group_images`, `group_scores`, `group_weights`,
        `group_embedding (dim,)`.
    """
    weights, embedding = _pooled(rows, scores, options)
    return {
        "group_images": images,
        "group_scores": scores,
        "group_weights": weights,
        "group_embedding": embedding,
    }


def group_part(scorer, calibration, held_out, degradation, options, limits, report):
    """Converts a score network to float32 and int8, and verifies both.

    Both on images of which some are spoilt: a score network that is calibrated on
    good images alone cuts off what it has to see in bad ones (a trained one was off
    by up to 0.38, with a rank correlation of 0.954), and good images alone do not
    show it.

    Args:
        scorer: `keras.Model`, see `keras_distill.tflite.convert_scorer`.
        calibration: uint8 array of images that set the ranges of the int8 file.
        held_out: uint8 array of other images, to compare scores on.
        degradation: Layer that spoils some of either, or `None` for
            `keras_distill.layers.RandomDegradation()`.
        options: Dictionary of `DEFAULTS`' names: what a device pools with, see
            `keras_distill.device.group_weights`.
        limits: Dictionary of those of `keras_distill.tflite.verify_scorer` that are
            for the int8 file.
        report: Function `(what, done, total)` called as the work goes on.

    Returns:
        A `GroupPart`.

    Raises:
        VerificationError: A `ValueError`; if a file fails a check.
    """
    if degradation is None:
        from keras_distill.layers import RandomDegradation

        degradation = RandomDegradation()
    calibration = spoilt(np.asarray(calibration), degradation, seed=0)
    held_out = spoilt(held_out, degradation, seed=1)
    models, figures = {}, {}
    for i, mode in enumerate(FILES):
        report("Converting the scorer", i, len(FILES))
        model = tflite.convert_scorer(scorer, mode, calibration)
        found = tflite.verify_scorer(
            model,
            scorer,
            held_out,
            mode,
            reference=models.get("float32"),
            **(limits if mode == "int8" else {}),
        )
        found["milliseconds"] = Scorer(model).milliseconds(held_out[0])
        models[mode], figures[mode] = model, {"file": FILES[mode], **found}
    report("Converting the scorer", len(FILES), len(FILES))
    section = {
        "signature": tflite.SCORE_SIGNATURE,
        "output": {"name": tflite.SCORE, "dtype": "float32", "range": [0, 1]},
        "scorer": {"name": scorer.name},
        "models": figures,
        "calibration": {"images": len(calibration)},
        **options,
    }
    return GroupPart(models, section)


def spoilt(images, degradation, seed):
    """Images as they come out of a layer that spoils some of them.

    Args:
        images: uint8 array `(count, height, width, channels)`.
        degradation: Layer with `draws_per_image` that takes `draws`, such as
            `keras_distill.layers.RandomDegradation`.
        seed: Integer, of the draws.

    Returns:
        uint8 array of the same shape.
    """
    shape = (len(images), degradation.draws_per_image)
    draws = np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")
    result = np.empty_like(images)
    for start in range(0, len(images), _BATCH):
        some = slice(start, start + _BATCH)
        pixels = degradation(
            images[some].astype("float32"), training=True, draws=draws[some]
        )
        result[some] = np.clip(np.rint(pixels), 0, 255)
    return result


def check_group_options(scorer, image_shape, degradation, options):
    """Refuses, before anything is done, what a bundle with a scorer cannot be of.

    Args:
        scorer, degradation, options: As for `group_part`; `scorer` is `None` for a
            bundle without one.
        image_shape: `(height, width, channels)` of the bundle.

    Raises:
        ValueError: If an option is out of its range, the scorer takes other images,
            or anything of it is given without a scorer.
        TypeError: If `scorer` is no `keras.Model`.
    """
    from keras_distill.group_pooling import check_options

    if scorer is None:
        given = [name for name, value in options.items() if value != DEFAULTS[name]]
        given += ["degradation"] * (degradation is not None)
        if given:
            raise ValueError(
                "Options of groups need a `scorer`. "
                f"Received: scorer=None with {', '.join(given)}"
            )
        return
    check_options(**options)
    check_scorer(scorer)
    if scorer.input_shape[1:] != tuple(image_shape):
        raise ValueError(
            f"`scorer` must take the images that the student does, {image_shape}. "
            f"Received: scorer.input_shape={scorer.input_shape}"
        )


def _pooled(rows, scores, options):
    """The weights and the embedding of one group, as the Keras layers have them.

    The device computes them with numpy: that both agree is worth a golden figure.
    """
    from keras_distill.group_pooling import group_weights, pool_groups

    options = {name: options[name] for name in DEFAULTS}
    weights = group_weights(scores[None], **options)
    pooled = pool_groups(rows[None], scores[None], **options)
    return np.asarray(weights)[0], np.asarray(normalize(pooled))[0]
