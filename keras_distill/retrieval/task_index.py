"""The ScaNN index of Android's Task Library: written and read without it.

It is one table of LevelDB (`scann_ondevice` of tflite-support 0.4.4): under `E_<p>`
the float32 rows of partition p one after another, under `M_<i>` the name of the i-th
row, counted through the partitions, under `INDEX_CONFIG` a message that says how to
search, and under `USER_INFO` what its maker has to say.

The device takes no residuals, does not score a second time what it found in rounded
rows, and answers nonsense, without an error, to some of the codebooks that ScaNN
itself writes. So the rows are kept whole: what it finds is exact, within the
partitions that it looks into.
"""

import dataclasses

import numpy as np

from keras_distill.device.nearest import nearest
from keras_distill.retrieval.leveldb_table import read_table, write_table
from keras_distill.retrieval.protobuf_wire import field, fields, read_varint, varint
from keras_distill.retrieval.scann_index import unit_rows

CONFIG, USER_INFO = b"INDEX_CONFIG", b"USER_INFO"
_DOT_PRODUCT, _FLOAT = 1, 1
# The device counts rows in a signed integer, and maps the file into memory.
MOST_ROWS, MOST_BYTES = 2**31 - 1, 2**31 - 2**21


@dataclasses.dataclass(frozen=True)
class Partitions:
    """A catalogue in parts, of which a search looks into the likeliest.

    Attributes:
        centroids: float32 array `(P, D)`, unit rows: a part is the likelier the
            greater its dot product with the query.
        assignment: int array `(N,)`, the part in 0..P-1 that each row is in.
        searched: Integer in 1..P, how many parts a search looks into.
    """

    centroids: np.ndarray
    assignment: np.ndarray
    searched: int


def write_task_index(embeddings, ids, partitions=None, user_info=""):
    """Writes an index that the Task Library's `ImageSearcher` loads.

    Args:
        embeddings: float array `(N, D)`, rows of length one.
        ids: N strings, all different, that name the rows: what a search answers, as
            the `metadata` of a neighbour.
        partitions: `Partitions`, or `None`: every search looks at every row.
        user_info: String that `get_user_info()` answers. Defaults to `""`.

    Returns:
        Bytes, the same for the same arguments.

    Raises:
        ValueError: If there are no rows or they are not of length one, if ids are
            not of their number, repeat, are empty or cannot be written as UTF-8, if
            partitions do not fit, or there is more than the format holds.
    """
    rows = unit_rows(embeddings)
    names = check_ids(ids, len(rows))
    check_size(len(rows), rows.nbytes + sum(map(len, names)))
    if partitions is None:
        order, sizes = np.arange(len(rows)), np.array([len(rows)])
    else:
        _check_partitions(partitions, rows)
        count = len(partitions.centroids)
        order = np.argsort(partitions.assignment, kind="stable")
        sizes = np.bincount(partitions.assignment, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    items = {
        CONFIG: _config(rows.shape[1], starts[:-1], partitions),
        USER_INFO: user_info.encode(),
    }
    for part, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        items[b"E_%d" % part] = rows[order[start:end]].astype("<f4").tobytes()
    for place, row in enumerate(order):
        items[b"M_%d" % place] = names[row]
    return write_table(items)


def check_ids(ids, count):
    """The ids of a catalogue as the format holds them.

    Args:
        ids: Strings.
        count: How many there must be.

    Returns:
        List of bytes.

    Raises:
        ValueError: If they are not `count`, one repeats or is empty, has a zero
            character (where C ends a string), or is not UTF-8: the name of a file
            that the system could not decode.
    """
    if len(ids) != count:
        raise ValueError(
            f"Every row needs an id. Received: {len(ids)} ids for {count} rows"
        )
    names, seen = [], set()
    for name in ids:
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = b""
        if not encoded or b"\0" in encoded:
            raise ValueError(
                "An id must be a text that can be written as UTF-8, not empty and "
                f"without a zero character. Received: {name!r}"
            )
        if encoded in seen:
            raise ValueError(
                "Ids must differ: a search answers with them alone. "
                f"Received: {name!r} more than once"
            )
        seen.add(encoded)
        names.append(encoded)
    return names


def check_size(count, size):
    """Refuses, before it is made, an index that the format cannot hold.

    Args:
        count: Number of rows.
        size: Bytes of rows and ids.

    Raises:
        ValueError: If either is too much.
    """
    if count > MOST_ROWS or size > MOST_BYTES:
        raise ValueError(
            f"An index of the Task Library holds {MOST_ROWS:,} rows and "
            f"{MOST_BYTES / 1e9:.1f} GB at most: make the embedding narrower or the "
            f"catalogue smaller. Received: {count:,} rows of {size / 1e9:.2f} GB"
        )


class TaskIndex:
    """An index of the Task Library, searched with numpy as the device does.

    Args:
        data: Bytes, as `write_task_index` makes them; or the library's own builder,
            for float rows and dot products and without compression.

    Attributes:
        rows: float32 array `(N, D)`, through the partitions.
        ids: List of N strings in the same order.
        partitions: `Partitions` of these rows, or `None`.
        user_info: String.

    Raises:
        ValueError: If the index is damaged, or of a kind that is not written here.
    """

    def __init__(self, data):
        items = read_table(data)
        try:
            self._read(items)
        except (KeyError, IndexError, UnicodeDecodeError) as error:
            raise ValueError(
                f"The index is not whole ({type(error).__name__}: {error}). "
                f"Received: {len(items)} items"
            ) from error

    def __len__(self):
        """How many rows it holds."""
        return len(self.rows)

    def search(self, queries, k):
        """The `k` rows nearest to each query among the parts that it looks into.

        Args:
            queries: float32 array `(Q, D)`.
            k: Integer in 1..N.

        Returns:
            `scores`, a list of Q float32 arrays, dot products in descending order
            (the library answers their negatives as distances), and `ids`, a list of
            Q lists of strings: `k` or, where the parts hold fewer, as many as that.
        """
        found = [self._search(np.float32(query)[None], k) for query in queries]
        return [scores for scores, _ in found], [ids for _, ids in found]

    def _search(self, query, k):
        rows = np.arange(len(self))
        if self.partitions is not None:
            affinity = self.partitions.centroids @ query[0]
            parts = np.argsort(-affinity, kind="stable")[: self.partitions.searched]
            rows = np.flatnonzero(np.isin(self.partitions.assignment, parts))
        if not len(rows):
            return np.empty(0, np.float32), []
        scores, places = nearest(query, self.rows[rows], min(k, len(rows)))
        return scores[0], [self.ids[i] for i in rows[places[0]]]

    def _read(self, items):
        config = fields(items[CONFIG])
        scann, (dim,) = fields(config[1][0]), config[3]
        kinds = (config[2], scann.get(1), 2 in scann)
        if kinds != ([_FLOAT], [_DOT_PRODUCT], False):
            raise ValueError(
                "Only an index of float rows and dot products can be read. Received: "
                f"embedding type, distance and codebook {kinds}"
            )
        starts = _packed(config[4][0])
        parts = [items[b"E_%d" % part] for part in range(len(starts))]
        data = b"".join(parts)
        count = sum(key.startswith(b"M_") for key in items)
        sizes = [len(part) // (4 * dim) for part in parts] if dim else []
        if not dim or len(data) != 4 * dim * count or _starts(sizes) != starts:
            raise ValueError(
                "The rows of an index must be as many as their names, and partitions "
                f"where they are said to be. Received: {len(data)} bytes of rows of "
                f"{dim} numbers, {count} names, partitions at {starts[:5]}"
            )
        self.rows = np.frombuffer(data, "<f4").reshape(count, dim)
        self.ids = [items[b"M_%d" % place].decode() for place in range(count)]
        self.user_info = items.get(USER_INFO, b"").decode()
        self.partitions = None
        if 3 not in scann and len(starts) != 1:
            raise ValueError(
                "An index without centroids must be one part. "
                f"Received: {len(starts)} parts"
            )
        if 3 in scann:
            leaves = fields(scann[3][0])
            centroids = [np.frombuffer(fields(leaf)[1][0], "<f4") for leaf in leaves[1]]
            self.partitions = Partitions(
                np.array(centroids).reshape(len(starts), dim),
                np.repeat(np.arange(len(starts)), sizes),
                _searched(leaves[2][0], len(starts)),
            )


def _config(dim, starts, partitions):
    scann = field(1, _DOT_PRODUCT)
    if partitions is not None:
        leaves = b"".join(
            field(1, field(1, centroid.astype("<f4").tobytes()))
            for centroid in partitions.centroids
        )
        # The device rounds up: half a part less is `searched` parts for certain.
        fraction = (partitions.searched - 0.5) / len(partitions.centroids)
        scann += field(3, leaves + field(2, fraction) + field(3, _DOT_PRODUCT))
    offsets = b"".join(varint(int(start)) for start in starts)
    return field(1, scann) + field(2, _FLOAT) + field(3, dim) + field(4, offsets)


def _check_partitions(partitions, rows):
    parts, dim = partitions.centroids.shape
    fits = (
        partitions.assignment.shape == (len(rows),)
        and partitions.assignment.min() >= 0
        and partitions.assignment.max() < parts
    )
    if dim != rows.shape[1] or not fits or not 1 <= partitions.searched <= parts:
        raise ValueError(
            "Partitions must have centroids of the rows' width, a part for each row, "
            "and search at least one. Received: "
            f"centroids.shape={partitions.centroids.shape}, "
            f"assignment.shape={partitions.assignment.shape} up to "
            f"{partitions.assignment.max(initial=-1)}, searched={partitions.searched} "
            f"for rows.shape={rows.shape}"
        )


def _packed(data):
    """A list of packed integers."""
    numbers, at = [], 0
    while at < len(data):
        number, at = read_varint(data, at)
        numbers.append(number)
    return numbers


def _starts(sizes):
    """Where each part begins."""
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _searched(fraction, parts):
    return min(int(np.ceil(np.float32(parts) * np.float32(fraction))), parts)
