"""An exported embedder and its catalogue, opened where there is no TensorFlow."""

import json
import pathlib

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.embedder import Embedder
from keras_distill.device.manifest import read_manifest
from keras_distill.device.nearest import nearest
from keras_distill.device.scann_folder import ScannFolder, has_scann

SEARCHERS = ("auto", "numpy", "scann")


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


class Bundle:
    """An embedder and a catalogue to search; made by `open_bundle`.

    Args:
        path, runtime, model, threads: See `open_bundle`.

    Attributes:
        path: `pathlib.Path` of the folder.
        manifest: Its manifest, a dictionary.
        image_shape: `(height, width, channels)` of the images it takes.
        dim: Width of the embedding.
        runtime: The interpreter in use, with `name` and `version`.
        rows: float32 array `(N, dim)`, the embeddings of the catalogue.
        ids: Tuple of N strings that name the images of the catalogue.
        classes: Tuple of N strings, the name of the class of each.
    """

    def __init__(self, path, runtime=None, model="int8", threads=1):
        self.path = pathlib.Path(path)
        self.manifest = read_manifest(self.path)
        models, catalogue = self.manifest["models"], self.manifest["catalogue"]
        if model not in models:
            raise ValueError(
                f"`model` must be one of {', '.join(map(repr, models))}. "
                f"Received: model={model!r}"
            )
        self._embedder = Embedder(
            (self.path / models[model]["file"]).read_bytes(), runtime, threads
        )
        self.image_shape, self.dim = self._embedder.image_shape, self._embedder.dim
        self.runtime = self._embedder.runtime
        self.rows = np.load(self.path / catalogue["rows"])
        names = json.loads((self.path / catalogue["ids"]).read_text(encoding="utf-8"))
        self.ids = tuple(names["ids"])
        self.classes = tuple(names["class_names"][i] for i in names["labels"])
        self._scann = None

    def __len__(self):
        """How many images the catalogue has."""
        return len(self.ids)

    def embed(self, images):
        """Embeds images: see `keras_distill.device.Embedder.embed`."""
        return self._embedder.embed(images)

    def search(self, queries, k=5, searcher="auto"):
        """The `k` images of the catalogue that are nearest to each query.

        Args:
            queries: uint8 images `(Q, height, width, channels)`, or float32
                embeddings `(Q, dim)` as `embed` gives them.
            k: Integer from 1 to the size of the catalogue. Defaults to `5`.
            searcher: `"numpy"`, exact; `"scann"`, needs ScaNN and a bundle that has
                its index; or `"auto"`: ScaNN where it is quicker (the index is a
                tree) and at hand, else numpy. Defaults to `"auto"`.

        Returns:
            `ids`, a list of Q lists of `k` strings, nearest first, and `scores
            (Q, k)` float32, their cosines.

        Raises:
            ValueError: If an argument is not as described, or the bundle has no
                ScaNN index.
            TypeError: If `queries` is neither uint8 nor float.
            ImportError: If ScaNN is asked for and not installed.
        """
        scores, indices = self.nearest(queries, k, searcher)
        return [[self.ids[i] for i in row] for row in indices], scores

    def nearest(self, queries, k=5, searcher="auto"):
        """`search` that returns `scores (Q, k)` and `indices (Q, k)` into `ids`.

        Args:
            queries, k, searcher: See `search`.
        """
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= len(self):
            raise ValueError(
                f"`k` must be an integer from 1 to {len(self)}, the size of the "
                f"catalogue. Received: k={k!r}"
            )
        queries = self._embedded(queries)
        if self._searcher(searcher) == "scann":
            if self._scann is None:
                folder = self.path / self.manifest["catalogue"]["rows"]
                self._scann = ScannFolder(folder.parent)
            return self._scann.search(queries, k)
        return nearest(queries, self.rows, k)

    def check_golden(self, min_cosine=0.98, max_score_difference=0.05):
        """Embeds and searches the golden images, and compares with the export.

        Kernels of different runtimes round differently: int8 embeddings differ by
        up to 0.02 a component, and neighbours of nearly equal score change places.
        So cosines and scores are compared, and ids only counted.

        Args:
            min_cosine: Least cosine of an embedding to the one stored. Defaults to
                `0.98`.
            max_score_difference: Largest difference between the score of a stored
                neighbour and its score here. Defaults to `0.05`.

        Returns:
            Dictionary: `runtime`, `runtime_version`, `images`, `k`, `cosine_mean`,
            `cosine_min`, `score_difference` (the largest), `top_1_same` and
            `overlap_at_k` (shares of the neighbours that are the same).

        Raises:
            BundleError: If a figure is beyond its limit.
        """
        with np.load(self.path / self.manifest["golden"]["file"]) as file:
            golden = dict(file)
        rows = self.embed(golden["images"])
        expected = golden["embeddings"]
        cosines = np.sum(rows * expected, axis=1) / np.linalg.norm(rows, axis=1)
        count, k = golden["ids"].shape
        ids, _ = self.search(rows, k, "numpy")
        index = {name: i for i, name in enumerate(self.ids)}
        stored = self.rows[[[index[name] for name in row] for row in golden["ids"]]]
        scores = np.einsum("qd,qkd->qk", rows, stored)
        pairs = zip(ids, golden["ids"], strict=True)
        overlaps = [len({*here} & {*there}) / k for here, there in pairs]
        found = {
            "runtime": self.runtime.name,
            "runtime_version": self.runtime.version,
            "images": count,
            "k": k,
            "cosine_mean": float(cosines.mean()),
            "cosine_min": float(cosines.min()),
            "score_difference": float(np.abs(scores - golden["scores"]).max()),
            "top_1_same": float(np.mean(np.array(ids)[:, 0] == golden["ids"][:, 0])),
            "overlap_at_k": float(np.mean(overlaps)),
        }
        # Written so that a NaN is beyond the limit as well.
        if not (
            found["cosine_min"] >= min_cosine
            and found["score_difference"] <= max_score_difference
        ):
            raise BundleError(
                f"The golden images must embed with a cosine of at least {min_cosine} "
                "to the stored embeddings and score within "
                f"{max_score_difference} of the stored scores. Received: {found}"
            )
        return found

    def _embedded(self, queries):
        queries = np.asarray(queries)
        if queries.dtype == np.uint8:
            if queries.ndim != 4:
                raise ValueError(
                    "`queries` must be a batch of images (count, height, width, "
                    f"channels). Received: queries.shape={queries.shape}"
                )
            return self.embed(queries)
        if queries.dtype.kind != "f":
            raise TypeError(
                "`queries` must be uint8 images or float32 embeddings. "
                f"Received: queries.dtype={queries.dtype}"
            )
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ValueError(
                f"Embeddings must have shape (count, {self.dim}). "
                f"Received: queries.shape={queries.shape}"
            )
        return queries.astype(np.float32)

    def _searcher(self, name):
        """`"numpy"` or `"scann"`: what `name` means for this bundle, here."""
        if name not in SEARCHERS:
            raise ValueError(
                f"`searcher` must be one of {', '.join(map(repr, SEARCHERS))}. "
                f"Received: searcher={name!r}"
            )
        catalogue = self.manifest["catalogue"]
        if name == "scann" and "scann" not in catalogue["searchers"]:
            raise ValueError(
                "This bundle has no ScaNN index, it was written where ScaNN was not "
                f"installed: search with numpy. Received: searcher={name!r}"
            )
        if name == "auto":
            tree = catalogue["index"] == "tree" and "scann" in catalogue["searchers"]
            return "scann" if tree and has_scann() else "numpy"
        return name
