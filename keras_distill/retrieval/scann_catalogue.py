"""A ScaNN index of named rows to which rows are added and from which they are taken."""

import json
import pathlib

import numpy as np

from keras_distill import atomic
from keras_distill.device.bundle_error import BundleError
from keras_distill.device.scann_folder import ScannFolder
from keras_distill.retrieval.scann_index import RECALL, build_index, unit_rows

NAMES = "ids.json"


class ScannCatalogue:
    """Rows with ids, indexed by ScaNN.

    Added and deleted rows are in the next search. They change the index that is there:
    its partitions and its quantiser stay those of the rows it was built from, so that
    after many changes it finds less; `save` builds it anew.

    Args:
        ids: N strings, all different.
        rows: float array `(N, D)`, of length one.
        folder: Path of a folder for the index; it is what `save` writes.
        kind, recall, queries: See `build_index`.

    Attributes:
        ids: List of the strings, in the order of `rows`.
        rows: float32 array `(N, D)`.

    Raises:
        ValueError: If ids repeat or are not as many as rows; or as `build_index`.
        ImportError: If ScaNN is not installed.

    Example:

    ```python
    catalogue = ScannCatalogue(ids, rows, "index", recall=0.95)
    catalogue.add(["new"], new_rows)
    catalogue.delete(["old"])
    ids, scores = catalogue.search(queries, k=10)
    catalogue.save()
    ```
    """

    def __init__(self, ids, rows, folder, kind=None, recall=RECALL, queries=None):
        self.ids, self.rows = list(ids), unit_rows(rows)
        _check_ids(self.ids, len(self.rows))
        self._folder = pathlib.Path(folder)
        self._options = {"kind": kind, "recall": recall, "queries": queries}
        self.save()

    @classmethod
    def open(cls, folder, kind=None, recall=RECALL, queries=None):
        """Opens what `save` has written.

        Args:
            folder: Its path; it may have been moved.
            kind, recall, queries: For the next `save`.

        Raises:
            FileNotFoundError: If there is none.
            BundleError: If its names are not those of its rows.
        """
        made = cls.__new__(cls)
        made._folder = pathlib.Path(folder)
        made._options = {"kind": kind, "recall": recall, "queries": queries}
        made._index = ScannFolder(folder)
        made.rows = made._index.rows
        try:
            text = (made._folder / NAMES).read_text(encoding="utf-8")
            made.ids = list(json.loads(text))
            _check_ids(made.ids, len(made.rows))
        except (ValueError, TypeError) as error:
            raise BundleError(
                f"{NAMES} must be a JSON list of a name for each row. "
                f"Received: {folder} ({error})"
            ) from error
        return made

    def __len__(self):
        """How many rows there are."""
        return len(self.ids)

    def add(self, ids, rows):
        """Adds rows.

        Args:
            ids: Strings that are not there yet.
            rows: float array `(len(ids), D)`, of length one.

        Raises:
            ValueError: If an id is there already, or rows are not as described.
        """
        ids, rows = list(ids), unit_rows(rows)
        _check_ids(self.ids + ids, len(self.ids) + len(rows))
        if rows.shape[1] != self.rows.shape[1]:
            raise ValueError(
                f"Rows must have {self.rows.shape[1]} numbers. "
                f"Received: rows.shape={rows.shape}"
            )
        self._index.add(rows)
        self.ids += ids
        self.rows = self._index.rows

    def delete(self, ids):
        """Takes rows out.

        Args:
            ids: Strings that are there.

        Raises:
            ValueError: If one is not, or nothing would be left.
        """
        places = {name: place for place, name in enumerate(self.ids)}
        unknown = [name for name in ids if name not in places]
        if unknown or len({*ids}) >= len(self.ids):
            raise ValueError(
                "Ids to delete must be there, and one row must be left. "
                f"Received: {unknown[:3] or 'all of them'}"
            )
        # From the last on: the last row moves into the place of one that goes.
        for place in sorted({places[name] for name in ids}, reverse=True):
            self._index.delete(place)
            self.ids[place] = self.ids[-1]
            self.ids.pop()
        self.rows = self._index.rows

    def search(self, queries, k):
        """The `k` rows nearest to each query.

        Args:
            queries: float array `(Q, D)`, of length one.
            k: Integer in 1..N.

        Returns:
            `ids`, a list of Q lists of `k` strings, nearest first, and `scores (Q, k)`
            float32.
        """
        scores, indices = self._index.search(np.asarray(queries, np.float32), k)
        return [[self.ids[i] for i in row] for row in indices], scores

    def save(self):
        """Builds the index anew and writes it, in place of what is in the folder."""
        with atomic.folder(self._folder, overwrite=True) as folder:
            build_index(self.rows, folder, **self._options)
            text = json.dumps(self.ids, ensure_ascii=False)
            (folder / NAMES).write_text(text, encoding="utf-8")
        self._index = ScannFolder(self._folder)


def _check_ids(ids, count):
    other = [name for name in ids if not isinstance(name, str)]
    if other:
        raise ValueError(f"Ids must be strings. Received: {other[:3]}")
    if len({*ids}) != len(ids) or len(ids) != count:
        raise ValueError(
            "There must be one id for each row, all different. "
            f"Received: {len(ids)} ids, {len({*ids})} different, for {count} rows"
        )
