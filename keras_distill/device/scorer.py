"""Images to scores, which say how much each is worth to its group."""

from keras_distill.device.embedder import Embedder


class Scorer:
    """Runs a .tflite that scores one image at a time.

    Args:
        model: Bytes of a .tflite file whose only input is `uint8[1, height, width,
            channels]` and whose only output is `float32[1, 1]`.
        runtime, threads: See `Embedder`.

    Attributes:
        image_shape: `(height, width, channels)`.
        runtime: The `Runtime` in use.

    Raises:
        ValueError: As `Embedder`; or if the file gives more than one number.
        ImportError: If the runtime is not installed.
    """

    def __init__(self, model, runtime=None, threads=1):
        self._network = Embedder(model, runtime, threads)
        if self._network.dim != 1:
            raise ValueError(
                "The model must give one score an image, float32[1, 1]. "
                f"Received: float32[1, {self._network.dim}]"
            )
        self.image_shape = self._network.image_shape
        self.runtime = self._network.runtime

    def score(self, images):
        """Scores images.

        Args:
            images: uint8 array `(count, height, width, channels)` of exactly
                `image_shape`, or one image without the first axis.

        Returns:
            float32 array `(count,)`, in [0, 1]; a scalar for one image.

        Raises:
            TypeError: If `images` is not uint8.
            ValueError: If it has another shape.
        """
        return self._network.embed(images)[..., 0]

    def milliseconds(self, image, repeats=50):
        """Median time to score one image: see `Embedder.milliseconds`."""
        return self._network.milliseconds(image, repeats)
