"""An exported detector, opened where there is no TensorFlow."""

import pathlib
from typing import NamedTuple

import numpy as np

from keras_distill.device.anchors import anchors
from keras_distill.device.bundle_error import BundleError
from keras_distill.device.detector import Detector
from keras_distill.device.detector_golden import check_detector_golden
from keras_distill.device.manifest import read_manifest
from keras_distill.device.manifest_fields import check_detector_fields, check_kind
from keras_distill.device.read_image import read_letterboxed


class Found(NamedTuple):
    """What lies in a picture, the surest first.

    Attributes:
        boxes: float32 array `(n, 4)`, x1 y1 x2 y2 in pixels of the file, upright.
        scores: float32 array `(n,)`, in [0, 1].
        labels: int32 array `(n,)`.
        names: Tuple of n strings, the names of their classes.
        size: `(width, height)` of the file, upright, in pixels.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple
    size: tuple


def open_detector(path, runtime=None, model="int8", threads=1, threshold=None):
    """Opens the bundle of a detector, as `retrieval.write_detector_bundle` makes it.

    Args:
        path: Path of the folder.
        runtime: `"ai-edge-litert"`, `"tflite-runtime"`, or `None` for the first of
            them that is installed. Defaults to `None`.
        model: Which of its networks detects: `"int8"` or `"float32"`. Defaults to
            `"int8"`.
        threads: Positive integer, how many threads the network may use. Defaults to
            `1`.
        threshold: Float in [0, 1]: what has a higher score is found. Defaults to that
            of the bundle.

    Returns:
        A `DetectorBundle`.

    Raises:
        FileNotFoundError: If there is no bundle.
        BundleError: A `ValueError`; if a file was altered or is missing, or the
            bundle has a newer format, holds no detector, or one that does not fit its
            manifest.
        ImportError: If no interpreter is installed.
        ValueError: If an argument is not as described.

    Example:

    ```python
    detector = keras_distill.device.open_detector("bundles/cells")
    catalogue = keras_distill.device.open_bundle("bundles/shapes")
    found = detector.find("photo.jpg")
    crops = keras_distill.device.read_crops(
        "photo.jpg", found.boxes, catalogue.image_shape
    )
    ids, scores = catalogue.search(crops, k=3)
    ```
    """
    return DetectorBundle(path, runtime, model, threads, threshold)


class DetectorBundle:
    """A detector with its classes and thresholds; made by `open_detector`.

    Args:
        path, runtime, model, threads, threshold: See `open_detector`.

    Attributes:
        path: `pathlib.Path` of the folder.
        manifest: Its manifest, a dictionary.
        class_names: Tuple of strings.
        image_shape: `(height, width, channels)` of the images that the network takes.
        threshold: Float, as above.
        runtime: The interpreter in use, with `name` and `version`.
        detector: The `Detector`.
    """

    def __init__(self, path, runtime=None, model="int8", threads=1, threshold=None):
        self.path = pathlib.Path(path)
        self.manifest = read_manifest(self.path)
        check_kind(self.manifest, self.path, "detector")
        check_detector_fields(self.manifest, self.path)
        models = self.manifest["models"]
        if model not in models:
            raise ValueError(
                f"`model` must be one of {', '.join(map(repr, models))}. "
                f"Received: model={model!r}"
            )
        decoding = dict(self.manifest["decoding"])
        own = decoding.pop("threshold")
        self.threshold = own if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise ValueError(
                f"`threshold` must lie in [0, 1]. Received: threshold={threshold!r}"
            )
        file = self.path / models[model]["file"]
        self.detector = Detector(
            file.read_bytes(),
            self._anchors,
            runtime,
            threads,
            least_score=self.threshold,
            **{name: decoding[name] for name in ("overlap", "limit", "candidates")},
        )
        self.class_names = tuple(self.manifest["class_names"])
        self.image_shape = self.detector.image_shape
        self.runtime = self.detector.runtime
        if self.detector.num_classes != len(self.class_names):
            raise BundleError(
                f"The network must know the {len(self.class_names)} classes of the "
                f"manifest. Received: {file}, of {self.detector.num_classes}"
            )

    def _anchors(self, image_shape):
        section = self.manifest["anchors"]
        of_levels = anchors(
            image_shape,
            {stride: stride for stride in section["strides"]},
            section["size"],
            section["scales"],
            section["ratios"],
        )
        return np.concatenate(list(of_levels.values()))

    def detect(self, image):
        """What is in an image of the network's own size: see `Detector.detect`.

        Args:
            image: uint8 array of `image_shape`, as `read_letterboxed` gives it.
        """
        return self.detector.detect(image)

    def find(self, file):
        """What is in a picture of any size.

        It is scaled and padded as the images of the training were. What lies in the
        padding alone is left out.

        Args:
            file: Path of an image, or a binary file object that can seek, see
                `read_image`.

        Returns:
            A `Found`; boxes have an area and lie within the picture.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no image.
        """
        image, scale, size = read_letterboxed(file, self.image_shape)
        boxes, scores, labels = self.detect(image)
        boxes = np.clip(boxes / np.tile(scale, 2), 0, np.tile(size, 2))
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Found(
            boxes[kept].astype(np.float32),
            scores[kept],
            labels[kept],
            tuple(self.class_names[label] for label in labels[kept]),
            tuple(size),
        )

    def check_golden(self, max_score_difference=0.1, max_offset_difference=0.3):
        """Runs the golden images, and compares with what the export found.

        Kernels of different runtimes round differently. So raw outputs of the anchors
        with the highest scores are compared; and what was surely found, by a score
        more than `max_score_difference` above the threshold, has to be found again: a
        box of its class that overlaps it.

        Args:
            max_score_difference: Largest difference of a score. Defaults to `0.1`.
            max_offset_difference: Largest difference of an output for boxes: a part
                of the side of an anchor, or the logarithm of a ratio of sides.
                Defaults to `0.3`.

        Returns:
            Dictionary: `runtime`, `runtime_version`, `images`, `anchors` (how many an
            image), `score_difference`, `offset_difference` (the largest), `objects`
            (what was surely found) and `found_again` (how many of them).

        Raises:
            BundleError: If a figure is beyond its limit.
        """
        return check_detector_golden(self, max_score_difference, max_offset_difference)
