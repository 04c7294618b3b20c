"""Images to embeddings with a .tflite file and an interpreter, nothing else."""

import numpy as np

from keras_distill.device.interpreter import open_interpreter
from keras_distill.device.timing import median_milliseconds


class Embedder:
    """Runs a .tflite that embeds one image at a time.

    Args:
        model: Bytes of a .tflite file whose only input is `uint8[1, height, width,
            channels]` and whose only output is `float32[1, dim]`.
        runtime: `"ai-edge-litert"`, `"tflite-runtime"`, or `None` for the first of
            them that is installed. Defaults to `None`.
        threads: Positive integer, how many threads the interpreter may use.
            Defaults to `1`.

    Attributes:
        image_shape: `(height, width, channels)`.
        dim: Width of the embedding.
        runtime: The `Runtime` in use.

    Raises:
        ValueError: If `runtime` is unknown, `threads` is not positive, or the file
            cannot be run or has other inputs and outputs.
        ImportError: If the runtime is not installed.
    """

    def __init__(self, model, runtime=None, threads=1):
        self.runtime, self._interpreter = open_interpreter(model, runtime, threads)
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        found = [(d["dtype"].__name__, d["shape"].tolist()) for d in inputs + outputs]
        if (
            [dtype for dtype, _ in found] != ["uint8", "float32"]
            or (len(found[0][1]), len(found[1][1])) != (4, 2)
            or (found[0][1][0], found[1][1][0]) != (1, 1)
        ):
            raise ValueError(
                "The model must take uint8[1, height, width, channels] and give "
                f"float32[1, dim]. Received: inputs and outputs {found}"
            )
        self._image, self._embedding = inputs[0]["index"], outputs[0]["index"]
        self.image_shape = tuple(found[0][1][1:])
        self.dim = found[1][1][1]

    def embed(self, images, progress=None):
        """Embeds images.

        Args:
            images: uint8 array `(count, height, width, channels)` of exactly
                `image_shape`, or one image without the first axis.
            progress: Function called with the number of images done after each.

        Returns:
            float32 array `(count, dim)`; `(dim,)` for one image.

        Raises:
            TypeError: If `images` is not uint8.
            ValueError: If it has another shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8:
            raise TypeError(
                "`images` must be uint8 pixel values 0 to 255. "
                f"Received: images.dtype={images.dtype}"
            )
        if images.ndim not in (3, 4) or images.shape[-3:] != self.image_shape:
            raise ValueError(
                f"`images` must be images of {self.image_shape}; "
                "keras_distill.device.read_image makes them so. "
                f"Received: images.shape={images.shape}"
            )
        if images.ndim == 3:
            return self.embed(images[None], progress)[0]
        rows = np.empty((len(images), self.dim), np.float32)
        for i, image in enumerate(images):
            self._interpreter.set_tensor(self._image, image[None])
            self._interpreter.invoke()
            rows[i] = self._interpreter.get_tensor(self._embedding)[0]
            if progress is not None:
                progress(i + 1)
        return rows

    def milliseconds(self, image, repeats=50):
        """Median time to embed one image, in milliseconds.

        Args:
            image: uint8 array of `image_shape`.
            repeats: Positive integer, how often it is timed. Defaults to `50`.
        """
        return median_milliseconds(lambda: self.embed(image), repeats)
