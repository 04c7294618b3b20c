"""What each step from Keras to a phone costs in retrieval, and how much it may."""

import numpy as np

from keras_distill.retrieval.exact_search import exact_search
from keras_distill.tflite.verification_error import VerificationError

LIST = 10  # neighbours whose lists are compared
MOST_QUERIES = 10_000
MOST_FOUND = 20_000_000  # indices of one stage, above which lists are cut to LIST


class RetrievalBudget:
    """Measures searches of one catalogue, and refuses those that cost too much.

    The images of a catalogue ask for each other: at each stage (a file, an index, a
    runtime) every query has a list of what it finds beside itself. A stage is
    measured by its Recall@1 and MAP@R; by how much of the ten nearest it has in
    common with exact search of the Keras embeddings, which is the first stage; and
    by the cosines of its embeddings to those.

    Args:
        embeddings: float array `(N, D)`, what Keras gives for the catalogue.
        labels: int array `(N,)`.
        max_drop: By how many points of Recall@1, of 100, any stage may lie below
            Keras; 0 to 100. One query may always be lost: fewer than 200 cannot
            show half a point. Defaults to `0.5`.

    Attributes:
        queries: int array `(Q,)`, the images that ask: all, or 10,000 evenly spread.
        depth: How many neighbours a list needs: as many as the largest class of a
            query has others, or 10 where that is less, or where it is so many that
            MAP@R is not worth its memory.
        stages: List of dictionaries, what was measured of each stage: `name`,
            `recall_at_1`, `map_at_r` (`None` where lists are shorter than classes),
            `overlap_at_10`, `cosine_mean`, `cosine_min` (`None` where there are no
            embeddings), `drop` (points of Recall@1 below Keras) and `milliseconds`
            (`None` where nobody has measured).

    Raises:
        ValueError: If there are fewer than two images, lengths differ, or
            `max_drop` is out of its range.

    Example:

    ```python
    budget = RetrievalBudget(by_keras, labels, max_drop=0.5)
    budget.add("int8", budget.nearest(by_int8), by_int8)
    found = index.search(by_int8[budget.queries], budget.depth + 1)[1]
    budget.add("ScaNN", budget.without_self(found), by_int8)
    ```
    """

    def __init__(self, embeddings, labels, max_drop=0.5):
        check_max_drop(max_drop)
        labels = np.asarray(labels).reshape(-1)
        if len(labels) < 2 or len(labels) != len(embeddings):
            raise ValueError(
                "There must be at least two images, each with a label. Received: "
                f"len(embeddings)={len(embeddings)}, len(labels)={len(labels)}"
            )
        self.max_drop = max_drop
        self.stages = []
        self._labels, self._embeddings = labels, _unit(embeddings)
        count = len(labels)
        self.queries = _spread(count, MOST_QUERIES)
        _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        self._relevant = sizes[inverse[self.queries]] - 1
        deepest = max(LIST, int(self._relevant.max()))
        whole = deepest * len(self.queries) <= MOST_FOUND
        self.depth = min(deepest if whole else LIST, count - 1)
        self._allowed = max(max_drop, 100 / len(self.queries))
        self._lists = {}
        self.add("Keras", self.nearest(embeddings), embeddings)

    def nearest(self, embeddings, rows=None):
        """What the queries find by exact search, nearest first.

        Args:
            embeddings: float array `(N, D)`, of all images of the catalogue; or
                `(Q, D)` of the queries alone, with `rows`.
            rows: float array `(N, D)`, what is searched among. Defaults to
                `embeddings`.

        Returns:
            int64 array `(Q, depth)`, without the query itself.
        """
        rows = embeddings if rows is None else rows
        asked = self._of_queries(embeddings)
        _, found = exact_search(asked, rows, min(self.depth + 1, len(rows)))
        return self.without_self(found)

    def without_self(self, found):
        """Takes the query out of each list, or the last entry where it is missing.

        Args:
            found: int array `(Q, k)`, images of the catalogue, nearest first.

        Returns:
            int array `(Q, k - 1)`.
        """
        found = np.asarray(found)
        own = found == self.queries[:, None]
        own[~own.any(axis=1), -1] = True
        # An approximate search may name an image twice: the first time counts.
        first = np.arange(found.shape[1]) == own.argmax(axis=1)[:, None]
        return found[~first].reshape(len(found), found.shape[1] - 1)

    def add(self, name, found, embeddings=None, milliseconds=None):
        """Measures a stage, and refuses it if it costs too much.

        Args:
            name: String, for tables and errors; each once.
            found: int array `(Q, k)`, what each query finds, nearest first and
                without itself; -1 where it finds fewer.
            embeddings: float array `(N, D)` or `(Q, D)` that this stage asks with.
            milliseconds: How long one query takes.

        Returns:
            Dictionary, what is added to `stages`.

        Raises:
            VerificationError: Its `check` is `"recall"`.
            ValueError: If `found` has another length than `queries`, or there is a
                stage of this name.
        """
        found = np.asarray(found)
        if len(found) != len(self.queries) or found.ndim != 2 or not found.shape[1]:
            raise ValueError(
                f"`found` must have shape ({len(self.queries)}, k), a list for each "
                f"query. Received: found.shape={found.shape}"
            )
        if name in self._lists:
            raise ValueError(f"There is a stage of that name. Received: name={name!r}")
        stage = {"name": name, **self._measured(found)}
        stage |= self._cosines(embeddings)
        first = self.stages[0] if self.stages else stage
        stage["drop"] = 100 * (first["recall_at_1"] - stage["recall_at_1"])
        stage["milliseconds"] = milliseconds
        # Rounding is no loss, and the difference of two shares is rounded.
        if stage["drop"] > self._allowed + 1e-9:
            raise VerificationError(
                f"Recall@1 may drop by at most {self._allowed:.2f} points below Keras, "
                f"{100 * first['recall_at_1']:.2f}. Received: "
                f"{100 * stage['recall_at_1']:.2f} at the stage {name!r}, "
                f"{stage['drop']:.2f} points below",
                "recall",
            )
        self.stages.append(stage)
        self._lists[name] = found[:, : min(LIST, self.depth)].copy()
        return stage

    def worst(self, name, count):
        """The queries whose ten nearest differ most between Keras and a stage.

        Args:
            name: String, the stage.
            count: How many at most.

        Returns:
            List of `(image, by_keras, by_stage)`: an index into the catalogue and
            two int arrays `(k,)`, what it finds; those that lose their first hit
            come first, then those with the least overlap.
        """
        keras, stage = self._lists["Keras"], self._lists[name]
        wanted = self._labels[self.queries]
        first = [self._hits(lists[:, :1], wanted)[:, 0] for lists in (keras, stage)]
        order = np.lexsort((_overlaps(keras, stage), ~(first[0] & ~first[1])))
        return [(int(self.queries[i]), keras[i], stage[i]) for i in order[:count]]

    def section(self):
        """Dictionary for a manifest: `queries`, the budget, and `stages`."""
        return {
            "queries": len(self.queries),
            "max_drop": self.max_drop,
            "allowed_drop": self._allowed,
            "stages": self.stages,
        }

    def _measured(self, found):
        from keras_distill.metrics.map_at_r import average_precision_at_r

        hits = self._hits(found, self._labels[self.queries])
        asked = self._relevant > 0
        precision = None
        if asked.any() and found.shape[1] >= self._relevant.max():
            values = average_precision_at_r(hits, self._relevant)[asked]
            precision = float(values.mean())
        lists = found[:, : min(LIST, self.depth)]
        return {
            "recall_at_1": float(hits[:, 0].mean()),
            "map_at_r": precision,
            "overlap_at_10": float(
                np.mean(_overlaps(self._lists.get("Keras", lists), lists))
            ),
        }

    def _hits(self, found, wanted):
        return (self._labels[found] == wanted[:, None]) & (found >= 0)

    def _cosines(self, embeddings):
        if embeddings is None:
            return {"cosine_mean": None, "cosine_min": None}
        asked = _unit(self._of_queries(embeddings))
        cosines = np.sum(asked * self._embeddings[self.queries], axis=1)
        return {
            "cosine_mean": float(cosines.mean()),
            "cosine_min": float(cosines.min()),
        }

    def _of_queries(self, embeddings):
        whole = len(embeddings) == len(self._labels)
        return embeddings[self.queries] if whole else embeddings


def check_max_drop(max_drop):
    """Raises ValueError if `max_drop` is no number of points from 0 to 100."""
    if not 0 <= max_drop <= 100:
        raise ValueError(
            "`max_drop` must be points of Recall@1, 0 to 100. "
            f"Received: max_drop={max_drop}"
        )


def _overlaps(lists, others):
    """`(Q,)`, the share of each list that is in the other."""
    k = lists.shape[1]
    pairs = zip(lists, others, strict=True)
    return np.array([len({*a} & {*b}) / k for a, b in pairs])


def _unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _spread(count, most):
    """At most `most` of the numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
