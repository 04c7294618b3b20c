"""Search the files of a ScaNN index with numpy, where ScaNN is not installed."""

import pathlib

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.load_array import load_array
from keras_distill.device.nearest import nearest
from keras_distill.device.protobuf_fields import protobuf_fields
from keras_distill.device.scann_settings import ROWS, read_settings


class ScannReader:
    """A ScaNN index that was saved to a folder, searched as ScaNN does, in numpy.

    The partitions whose centroids have the largest products with a query are looked
    into; a row of one scores `q . centroid + sum of q . codeword`, a codeword for every
    two numbers (asymmetric hashing of the residual, Guo et al., ICML 2020); the best
    are scored again with float32 rows. Some of ScaNN's centroids lie within float32
    rounding of each other: which of these a search looks into first may differ, which
    shows where it looks into a few partitions only.

    Args:
        folder: Path of the folder.

    Attributes:
        rows: float32 array `(N, D)`, what was indexed.

    Raises:
        FileNotFoundError: If there is no index.
        BundleError: If its files do not fit together.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.settings = read_settings(folder)
        try:
            self.rows = load_array(folder / ROWS)
            if self.settings["kind"] == "tree":
                self._read_tree(folder)
        except (ValueError, KeyError, IndexError, OSError, EOFError) as error:
            raise BundleError(
                "The files of the index must be those that ScaNN wrote. "
                f"Received: {folder} ({type(error).__name__}: {error})"
            ) from error

    def _read_tree(self, folder):
        count, dim = self.rows.shape
        self._centroids = _centroids(folder / "serialized_partitioner.pb", dim)
        self._codebook = _codebook(folder / "ah_codebook.pb", dim)
        self._codes = load_array(folder / "hashed_dataset.npy")
        tokens = load_array(folder / "datapoint_to_token.npy")
        blocks, words, _ = self._codebook.shape
        if (
            tokens.shape != (count,)
            or self._codes.shape != (count, blocks)
            or self._codes.max(initial=0) >= words
            or not 0 <= tokens.min() <= tokens.max() < len(self._centroids)
        ):
            raise ValueError("sizes do not agree")
        order = np.argsort(tokens, kind="stable")
        ends = np.cumsum(np.bincount(tokens, minlength=len(self._centroids)))
        self._members = np.split(order, ends[:-1])

    def search(self, queries, k, leaves_to_search=None, reorder=None):
        """The `k` rows nearest to each query, as ScaNN finds them.

        Args:
            queries: float32 array `(Q, D)`, rows of length one.
            k: Integer in 1..N.
            leaves_to_search, reorder: Instead of those of the settings.

        Returns:
            As `nearest`: `scores (Q, k)` float32 and `indices (Q, k)` int64.
        """
        if self.settings["kind"] != "tree":
            return nearest(queries, self.rows, k)
        leaves = leaves_to_search or self.settings["leaves_to_search"]
        reorder = max(reorder or self.settings["reorder"], k)
        scores = np.empty((len(queries), k), np.float32)
        indices = np.empty((len(queries), k), np.int64)
        near = queries @ self._centroids.T
        chosen = np.argsort(-near, axis=1, kind="stable")[:, :leaves]
        for i, query in enumerate(queries):
            some = self._candidates(query, near[i], chosen[i], reorder)
            if len(some) < k:
                some = np.arange(len(self.rows))
            exact = self.rows[some] @ query
            best = np.argsort(-exact, kind="stable")[:k]
            scores[i], indices[i] = exact[best], some[best]
        return scores, indices

    def _candidates(self, query, near, leaves, count):
        """The rows, ascending, that are worth to be scored exactly."""
        members = [self._members[leaf] for leaf in leaves]
        some = np.concatenate(members)
        if len(some) > count:
            blocks, words, width = self._codebook.shape
            padded = np.zeros(blocks * width, np.float32)
            padded[: len(query)] = query
            table = np.einsum(
                "bwd,bd->bw", self._codebook, padded.reshape(blocks, width)
            )
            # Eight bits a word, as ScaNN has them: candidates are to be the same.
            step = max(np.abs(table).max() / 127, np.float32(1e-12))
            table = np.rint(table / step)
            places = self._codes[some] + np.arange(blocks) * words
            scores = step * table.ravel()[places].sum(axis=1)
            scores += np.repeat(near[leaves], [len(part) for part in members])
            some = some[np.argpartition(-scores, count - 1)[:count]]
        return np.sort(some)


def _centroids(path, dim):
    """float32 `(leaves, dim)`: doubles, three messages deep."""
    top = protobuf_fields(path.read_bytes())
    inner = protobuf_fields(protobuf_fields(top[2][0])[1][0])[1][0]
    rows = [
        np.frombuffer(protobuf_fields(centre)[1][0], "<f8")
        for centre in protobuf_fields(inner)[1]
    ]
    centroids = np.stack(rows).astype(np.float32)
    if centroids.shape != (top[1][0], dim):
        raise ValueError("the partitioner has other sizes")
    return centroids


def _codebook(path, dim):
    """float32 `(blocks, words, width)`; a last block that is narrower has zeros."""
    blocks = [
        [
            np.frombuffer(protobuf_fields(word)[4][0], "<f4")
            for word in protobuf_fields(block)[1]
        ]
        for block in protobuf_fields(path.read_bytes())[1]
    ]
    width = max(len(word) for block in blocks for word in block)
    words = max(len(block) for block in blocks)
    if sum(len(block[0]) for block in blocks) != dim:
        raise ValueError("the codebook has another width")
    codebook = np.zeros((len(blocks), words, width), np.float32)
    for i, block in enumerate(blocks):
        for j, word in enumerate(block):
            codebook[i, j, : len(word)] = word
    return codebook
