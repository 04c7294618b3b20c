"""Open what an export wrote."""

from keras_distill.device.bundle import Bundle


def open_bundle(path, runtime=None, model="int8", threads=1):
    """Opens a bundle: the folder that `keras_distill.retrieval.write_bundle` makes.

    Args:
        path: Path of the folder.
        runtime: `"ai-edge-litert"`, `"tflite-runtime"`, or `None` for the first of
            them that is installed. Defaults to `None`.
        model: Which of its networks embeds the queries: `"int8"`, which embedded
            the catalogue too, or `"float32"`. Defaults to `"int8"`.
        threads: Positive integer, how many threads the network may use. Defaults
            to `1`.

    Returns:
        A `Bundle`.

    Raises:
        FileNotFoundError: If there is no bundle.
        BundleError: A `ValueError`; if a file was altered or is missing, or the
            bundle has a newer format.
        ImportError: If no interpreter is installed.
        ValueError: If an argument is not as described.

    Example:

    ```python
    bundle = keras_distill.device.open_bundle("bundles/glyphs")
    image = keras_distill.device.read_image("query.png", bundle.image_shape)
    ids, scores = bundle.search(image[None], k=5)
    ```
    """
    return Bundle(path, runtime, model, threads)
