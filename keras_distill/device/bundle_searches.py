"""The searches of an opened bundle: its search file, its index, and numpy."""

import numpy as np

from keras_distill.device.nearest import nearest
from keras_distill.device.scann_folder import ScannFolder, has_scann
from keras_distill.device.scann_reader import ScannReader
from keras_distill.device.searcher import Searcher

SEARCHERS = ("auto", "numpy", "scann", "tflite")


class BundleSearches:
    """Answers queries by the searcher that is asked for; opens it when it is needed.

    Args:
        path: `pathlib.Path` of the bundle.
        manifest: Its manifest, a dictionary.
        embed: Function from uint8 images to float32 embeddings.
        model, runtime, threads: See `keras_distill.device.open_bundle`.
    """

    def __init__(self, path, manifest, embed, model, runtime, threads):
        self._path, self._manifest = path, manifest
        self._embed, self._model = embed, model
        self._interpreter = runtime, threads
        self._index = self._file = None

    def nearest(self, rows, queries, k, searcher):
        """See `keras_distill.device.Bundle.nearest`; `rows (N, dim)`: the catalogue."""
        count, dim = rows.shape
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= count:
            raise ValueError(
                f"`k` must be an integer from 1 to {count}, the size of the "
                f"catalogue. Received: k={k!r}"
            )
        queries = _checked(queries, dim)
        searcher = self._chosen(searcher, queries, k)
        if searcher == "tflite":
            return self._by_file(rows, queries, k)
        if queries.dtype == np.uint8:
            queries = self._embed(queries)
        if searcher == "scann":
            return self._opened_index().search(queries, k)
        return nearest(queries, rows, k)

    def file(self):
        """See `keras_distill.device.Bundle.search_file`."""
        if "search" not in self._manifest:
            raise ValueError(
                "This bundle has no search file, an earlier version wrote it. "
                f"Received: {self._path}"
            )
        if self._file is None:
            model = (self._path / self._manifest["search"]["file"]).read_bytes()
            self._file = Searcher(model, *self._interpreter)
        return self._file

    def _opened_index(self):
        if self._index is None:
            folder = (self._path / self._manifest["catalogue"]["rows"]).parent
            self._index = (ScannFolder if has_scann() else ScannReader)(folder)
        return self._index

    def _by_file(self, rows, images, k):
        """The answers of the search file, which embeds the images itself."""
        scores, indices, embeddings = self.file().search(images, len(rows))
        scores, indices = scores[:, :k], indices[:, :k]
        # With lists it may find fewer than there are.
        short = (indices < 0).any(axis=1)
        if short.any():
            scores[short], indices[short] = nearest(embeddings[short], rows, k)
        return scores, indices

    def _why_no_file(self, queries, k):
        """Why the search file cannot answer, or `None` if it can."""
        if "search" not in self._manifest:
            return "this bundle has none"
        if queries.dtype != np.uint8:
            return "it takes images, and these are embeddings"
        model = self._manifest["search"].get("model")
        if self._model != model:
            return f"it embeds with the {model} network"
        if k > self._manifest["search"]["k"]:
            return f"it gives {self._manifest['search']['k']} neighbours"
        return None

    def _chosen(self, name, queries, k):
        """Which searcher `name` means for these queries, here."""
        if name not in SEARCHERS:
            raise ValueError(
                f"`searcher` must be one of {', '.join(map(repr, SEARCHERS))}. "
                f"Received: searcher={name!r}"
            )
        catalogue = self._manifest["catalogue"]
        if name == "scann" and "scann" not in catalogue["searchers"]:
            raise ValueError(
                "This bundle has no ScaNN index, it was written where ScaNN was not "
                f"installed: search with numpy. Received: searcher={name!r}"
            )
        if name in ("auto", "tflite"):
            reason = self._why_no_file(queries, k)
            if reason is None:
                return "tflite"
            if name == "tflite":
                raise ValueError(
                    f"The search file cannot answer: {reason}. Search with another "
                    f"searcher. Received: searcher={name!r}, k={k}"
                )
            tree = (
                catalogue.get("index") == "tree" and "scann" in catalogue["searchers"]
            )
            return "scann" if tree else "numpy"
        return name


def _checked(queries, dim):
    """uint8 images of rank 4, or float32 embeddings; raises for anything else."""
    queries = np.asarray(queries)
    if queries.dtype == np.uint8:
        if queries.ndim != 4:
            raise ValueError(
                "`queries` must be a batch of images (count, height, width, "
                f"channels). Received: queries.shape={queries.shape}"
            )
        return queries
    if queries.dtype.kind != "f":
        raise TypeError(
            "`queries` must be uint8 images or float32 embeddings. "
            f"Received: queries.dtype={queries.dtype}"
        )
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(
            f"Embeddings must have shape (count, {dim}). "
            f"Received: queries.shape={queries.shape}"
        )
    return queries.astype(np.float32)
