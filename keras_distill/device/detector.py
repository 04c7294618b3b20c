"""Images to boxes with a .tflite file and an interpreter, nothing else."""

import numpy as np

from keras_distill.device.detections import detections, padded
from keras_distill.device.interpreter import open_interpreter
from keras_distill.device.timing import median_milliseconds

OUTPUTS = ("class_logits", "box_deltas")


class Detector:
    """Runs a .tflite of `tflite.convert_detector`, and makes boxes of what it gives.

    Args:
        model: Bytes of the file: one input `uint8[1, height, width, channels]`, two
            outputs `float32[1, A, classes]` and `float32[1, A, 4]`.
        anchors: `(A, 4)`: those of the detector that was converted; or a function
            from `image_shape` to them.
        runtime: `"ai-edge-litert"`, `"tflite-runtime"`, or None for the first of them
            that is installed.
        threads: Positive integer.
        **options: `least_score`, `overlap`, `limit` and `candidates`, see
            `detections`.

    Attributes:
        image_shape: `(height, width, channels)`.
        num_classes: Integer.
        anchors: float32 array `(A, 4)`.
        runtime: The `Runtime` in use.

    Raises:
        ValueError: If the file cannot be run or has other inputs and outputs, or
            anchors are not as many as it has outputs.
        ImportError: If the runtime is not installed.
    """

    def __init__(self, model, anchors, runtime=None, threads=1, **options):
        self.runtime, self._interpreter = open_interpreter(model, runtime, threads)
        self.options = options
        # By their names: the order of the outputs in a file is not certain.
        signatures = self._interpreter.get_signature_list()
        outputs = {d["index"]: d for d in self._interpreter.get_output_details()}
        (image,) = self._interpreter.get_input_details() or [{}]
        found = [(d["dtype"].__name__, d["shape"].tolist()) for d in outputs.values()]
        if sorted(signatures.get("detect", {}).get("outputs", ())) != sorted(OUTPUTS):
            raise ValueError(
                f"The model must have the signature detect, with {', '.join(OUTPUTS)}. "
                f"Received: signatures={signatures}"
            )
        self.image_shape = tuple(int(n) for n in image.get("shape", ())[1:])
        if callable(anchors):
            anchors = anchors(self.image_shape)
        self.anchors = np.asarray(anchors, np.float32)
        count = len(self.anchors)
        if any(shape[:2] != [1, count] for _, shape in found):
            raise ValueError(
                f"The model must give logits and offsets of {count} anchors. "
                f"Received: outputs {found}"
            )
        self._run = self._interpreter.get_signature_runner("detect")
        self.num_classes = self.raw(np.zeros(self.image_shape, np.uint8))[0].shape[-1]

    def raw(self, image):
        """The outputs of the network: `(A, classes)` logits and `(A, 4)` deltas.

        Args:
            image: uint8 array of `image_shape`, as `read_letterboxed` gives it.

        Raises:
            ValueError: If it has another shape or dtype.
        """
        image = np.asarray(image)
        if image.shape != self.image_shape or image.dtype != np.uint8:
            raise ValueError(
                f"An image must be uint8 of shape {self.image_shape}. "
                f"Received: shape={image.shape}, dtype={image.dtype}"
            )
        given = self._run(image=image[None])
        return tuple(given[name][0] for name in OUTPUTS)

    def detect(self, image):
        """What is found in an image, see `detections`.

        Args:
            image: As for `raw`.

        Returns:
            `(boxes (n, 4), scores (n,), labels (n,))`, boxes in pixels of `image`.
        """
        logits, deltas = self.raw(image)
        size = self.image_shape[:2]
        return detections(logits, deltas, self.anchors, size, **self.options)

    def detect_all(self, images, progress=None):
        """What is found in many images, as `predict` of a `models.RetinaNet` gives it.

        Args:
            images: uint8 array `(N, *image_shape)`.
            progress: Function called with the number of images done after each.

        Returns:
            Dictionary of `"boxes"` float32 `(N, D, 4)`, `"scores"` float32 `(N, D)`,
            the best first, and `"labels"` int32 `(N, D)`, -1 where there is no more.
            D is what the image with most of them has, at least 1.
        """
        rows = []
        for image in images:
            rows.append(self.detect(image))
            if progress is not None:
                progress(len(rows))
        return padded(rows)

    def milliseconds(self, image, repeats=20):
        """Median time from an image to its boxes, in milliseconds.

        Args:
            image: As for `raw`.
            repeats: Positive integer, how often it is timed. Defaults to `20`.
        """
        return median_milliseconds(lambda: self.detect(image), repeats)
