"""Images to the nearest items of a catalogue with one .tflite file."""

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.interpreter import open_interpreter

SIGNATURE = "search"


class Searcher:
    """Runs a .tflite that embeds one image and finds its neighbours.

    Args:
        model: Bytes of a .tflite file with the signature `search(image: uint8[1,
            height, width, channels]) -> ids: int32[1, k], scores: float32[1, k],
            embedding: float32[1, dim]`.
        runtime, threads: See `keras_distill.device.Embedder`.

    Attributes:
        image_shape: `(height, width, channels)`.
        k: How many neighbours it gives.
        dim: Width of the embedding.
        runtime: The `Runtime` in use.

    Raises:
        ValueError: If an argument is not as described.
        ImportError: If the runtime is not installed.
    """

    def __init__(self, model, runtime=None, threads=1):
        self.runtime, self._interpreter = open_interpreter(model, runtime, threads)
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        signatures = self._interpreter.get_signature_list()
        kinds = ["uint8", "int32", "float32", "float32"]
        found = [(d["dtype"].__name__, d["shape"].tolist()) for d in inputs + outputs]
        shapes = [shape for _, shape in found]
        if (
            SIGNATURE not in signatures
            or [dtype for dtype, _ in found] != kinds
            or [len(shape) for shape in shapes] != [4, 2, 2, 2]
            or [shape[0] for shape in shapes] != [1, 1, 1, 1]
            or shapes[1] != shapes[2]
        ):
            raise ValueError(
                f"The model must have a signature {SIGNATURE!r} from uint8[1, height, "
                "width, channels] to int32[1, k], float32[1, k] and float32[1, dim]. "
                f"Received: signatures {sorted(signatures)}, inputs and outputs {found}"
            )
        self._image = inputs[0]["index"]
        self._outputs = [detail["index"] for detail in outputs]
        self.image_shape = tuple(shapes[0][1:])
        self.k, self.dim = shapes[1][1], shapes[3][1]

    def search(self, images, count=None):
        """Embeds images and finds their neighbours.

        Args:
            images: uint8 array `(Q, height, width, channels)` of exactly `image_shape`.
            count: How many items the catalogue has, to check what is found against;
                `None` for no check. Defaults to `None`.

        Returns:
            `scores (Q, k)` float32, cosines in descending order; `indices (Q, k)`
            int64, rows of the catalogue, -1 where fewer than `k` were found; and
            `embeddings (Q, dim)` float32.

        Raises:
            TypeError: If `images` is not uint8.
            ValueError: If it has another shape.
            BundleError: If a row is found that the catalogue does not have.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(
                "`images` must be uint8 pixel values 0 to 255. "
                f"Received: images.dtype={images.dtype}"
            )
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            raise ValueError(
                f"`images` must be a batch of images of {self.image_shape}. "
                f"Received: images.shape={images.shape}"
            )
        indices = np.empty((len(images), self.k), np.int64)
        scores = np.empty((len(images), self.k), np.float32)
        embeddings = np.empty((len(images), self.dim), np.float32)
        for i, image in enumerate(images):
            self._interpreter.set_tensor(self._image, image[None])
            self._interpreter.invoke()
            indices[i], scores[i], embeddings[i] = (
                self._interpreter.get_tensor(index)[0] for index in self._outputs
            )
        # -1 comes from lists alone, behind what was found.
        if count is not None and not np.all((indices >= -1) & (indices < count)):
            raise BundleError(
                f"The search file must find rows below {count}, the size of the "
                f"catalogue. Received: {indices.min()} to {indices.max()}"
            )
        return scores, indices, embeddings
