"""Which score is a match, and which is nothing in the catalogue at all."""

import dataclasses

import numpy as np

BINS = 8192  # over [-1, 1]: intervals are told within 0.00025
INTERVAL = 0.95
TILE = 1 << 22


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A score to compare with, and what comes of it.

    Attributes:
        threshold: Float: scores equal or above are accepted.
        interval: Two floats, 95 % of the bootstrap's thresholds lie between.
        false_rate: Float, the share of what should be refused that is accepted.
        true_rate: Float, the share of what should be accepted that is.
        true_interval: Two floats, its interval, likewise.
        true_count, false_count: How many of either were compared.
    """

    threshold: float
    interval: tuple
    false_rate: float
    true_rate: float
    true_interval: tuple
    true_count: int
    false_count: int

    def facts(self):
        """The same as a dictionary for JSON."""
        return {k: _plain(v) for k, v in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What `calibrate` found.

    Attributes:
        match: `Threshold` of pairs: an item that scores as high is taken to be of the
            query's class. Its counts are pairs.
        no_match: `Threshold` of queries: one whose best item scores lower is taken to
            show nothing that is in the catalogue. Its counts are queries; the true
            rate is that of queries whose best item is of their class and accepted.
    """

    match: Threshold
    no_match: Threshold

    def facts(self):
        """The same as a dictionary for JSON."""
        return {"match": self.match.facts(), "no_match": self.no_match.facts()}


def calibrate(
    queries,
    query_labels,
    gallery,
    gallery_labels,
    false_match_rate=0.01,
    own=None,
    resamples=500,
    seed=0,
):
    """Chooses the scores from which on a match is accepted.

    Two questions have two thresholds, each for the same rate of errors:

    * Is *this item* of the query's class? Pairs of a query and an item of another
      class are impostors; at most `false_match_rate` of them reach `match`.
    * Is *anything* of the query's class in the catalogue? Each query is asked again
      with its own class left out, so that nothing is; for at most `false_match_rate`
      of them the best of the other items reaches `no_match`. It is the higher of the
      two: the best of thousands of impostors scores higher than most.

    Give the embeddings that a device makes (those of the int8 file) and the catalogue
    as its search file scores it (`RowCodes.decoded`). The thresholds hold for queries
    like these: photographs by another camera have to be calibrated anew.

    The intervals are of a bootstrap over the classes of the queries, whose images are
    not independent of each other.

    Args:
        queries: float array `(Q, D)`, rows of length one.
        query_labels: Integers `(Q,)`, their classes.
        gallery: float array `(N, D)`, rows of length one.
        gallery_labels: Integers `(N,)`, numbered as `query_labels`.
        false_match_rate: Float in (0, 1). Defaults to `0.01`.
        own: Integers `(Q,)`, the row of the gallery that each query is itself and that
            it must not be compared with; -1 or `None` for none.
        resamples: Positive integer, how often the classes are drawn.
        seed: Integer, of the draws.

    Returns:
        `Thresholds`.

    Raises:
        ValueError: If shapes do not fit or the rate is out of its range; or if the
            data cannot support the rate: fewer than one impostor pair or one query
            in `1 / false_match_rate`, or no genuine pair.
    """
    queries, query_labels = _checked(queries, query_labels, "queries", "query_labels")
    gallery, gallery_labels = _checked(
        gallery, gallery_labels, "gallery", "gallery_labels"
    )
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "`queries` and `gallery` must have the same width. Received: "
            f"queries.shape={queries.shape}, gallery.shape={gallery.shape}"
        )
    if not 0 < false_match_rate < 1:
        raise ValueError(
            "`false_match_rate` must lie in (0, 1). "
            f"Received: false_match_rate={false_match_rate}"
        )
    if resamples < 1:
        raise ValueError(
            f"`resamples` must be positive. Received: resamples={resamples}"
        )
    own = np.full(len(queries), -1) if own is None else np.asarray(own)
    scores = _Scores(queries, query_labels, gallery, gallery_labels, own)
    _check_support(scores, false_match_rate)
    draws = _class_draws(query_labels, resamples, seed)
    return Thresholds(
        _pairs(scores, false_match_rate, draws),
        _open_set(scores, false_match_rate, draws),
    )


class _Scores:
    """What the thresholds are made of, gathered a tile of queries at a time.

    Attributes:
        genuine, impostor: float32 arrays `(Q, BINS)`, histograms of the pairs' scores.
        best_genuine, best_impostor: float32 arrays `(Q,)`; -inf for none.
    """

    def __init__(self, queries, query_labels, gallery, gallery_labels, own):
        count = len(queries)
        self.genuine = np.zeros((count, BINS), np.float32)
        self.impostor = np.zeros((count, BINS), np.float32)
        self.best_genuine = np.full(count, -np.inf, np.float32)
        self.best_impostor = np.full(count, -np.inf, np.float32)
        self._tiles = lambda: _tiles(
            queries, query_labels, gallery, gallery_labels, own
        )
        for rows, scores, genuine, impostor in self._tiles():
            bins = _bins(scores)
            for mask, histogram, best in (
                (genuine, self.genuine, self.best_genuine),
                (impostor, self.impostor, self.best_impostor),
            ):
                for i, row in enumerate(rows):
                    some = bins[i, mask[i]]
                    histogram[row] = np.bincount(some, minlength=BINS)
                best[rows] = np.where(mask, scores, -np.inf).max(axis=1)

    def impostors_from(self, least):
        """Scores of the impostor pairs whose bin is `least` or above."""
        found = [
            scores[impostor & (_bins(scores) >= least)]
            for _, scores, _, impostor in self._tiles()
        ]
        return np.concatenate(found)

    def genuine_reaching(self, threshold):
        """How many genuine pairs score `threshold` or more."""
        return sum(
            int(np.sum(scores[genuine] >= threshold))
            for _, scores, genuine, _ in self._tiles()
        )


def _tiles(queries, query_labels, gallery, gallery_labels, own):
    size = max(1, TILE // len(gallery))
    places = np.arange(len(gallery))
    for start in range(0, len(queries), size):
        rows = np.arange(start, min(start + size, len(queries)))
        scores = queries[rows] @ gallery.T
        same = query_labels[rows, None] == gallery_labels
        itself = own[rows, None] == places
        yield rows, scores, same & ~itself, ~same


def _pairs(scores, rate, draws):
    total = int(scores.impostor.sum(dtype=np.float64))
    allowed = int(np.floor(rate * total + 1e-9))
    # The bin in which the first impostor that must not pass lies, then its score.
    above = _reaching(scores.impostor.sum(axis=0, dtype=np.float64))
    least = int(np.flatnonzero(above > allowed)[-1])
    highest = np.sort(scores.impostors_from(least))[::-1]
    threshold = _just_above(highest[allowed])
    genuine = int(scores.genuine.sum(dtype=np.float64))
    accepted = scores.genuine_reaching(threshold)
    resampled, true_rates = [], []
    impostor = _reaching(draws @ scores.impostor)  # (resamples, BINS)
    for above, own in zip(impostor, _reaching(draws @ scores.genuine), strict=True):
        if not above[0] or not own[0]:
            continue
        place = int(np.flatnonzero(above > rate * above[0])[-1]) + 1
        resampled.append(2 * place / BINS - 1)
        true_rates.append(own[place] / own[0] if place < BINS else 0.0)
    return Threshold(
        threshold,
        _interval(resampled),
        float(np.sum(highest >= threshold) / total),
        accepted / genuine,
        _interval(true_rates),
        genuine,
        total,
    )


def _open_set(scores, rate, draws):
    unknown = scores.best_impostor
    known = np.isfinite(scores.best_genuine)
    right = known & (scores.best_genuine > unknown)
    threshold = _at_most(unknown, np.ones(len(unknown)), rate)
    accepted = right & (scores.best_genuine >= threshold)
    resampled, true_rates = [], []
    for weights in draws:
        if not (weights * known).sum():
            continue
        limit = _at_most(unknown, weights, rate)
        resampled.append(limit)
        found = right & (scores.best_genuine >= limit)
        true_rates.append((weights * found).sum() / (weights * known).sum())
    return Threshold(
        threshold,
        _interval(resampled),
        float(np.mean(unknown >= threshold)),
        float(accepted.sum() / known.sum()),
        _interval(true_rates),
        int(known.sum()),
        len(unknown),
    )


def _at_most(scores, weights, rate):
    """Just above the highest score that more than `rate` of the weight reaches."""
    order = np.argsort(-scores, kind="stable")
    reached = np.cumsum(weights[order])
    first = int(np.argmax(reached > rate * reached[-1] + 1e-9))
    return _just_above(scores[order[first]])


def _just_above(score):
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _class_draws(labels, resamples, seed):
    """Weights `(resamples, Q)` of queries whose classes are drawn with replacement."""
    _, classes = np.unique(labels, return_inverse=True)
    count = classes.max() + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn[:, classes].astype(np.float32)


def _reaching(histogram):
    """How much of a histogram lies in each bin or above it, along the last axis."""
    return np.cumsum(histogram[..., ::-1], axis=-1, dtype=np.float64)[..., ::-1]


def _bins(scores):
    return np.clip(((scores + 1) * (BINS / 2)).astype(np.int32), 0, BINS - 1)


def _interval(values):
    low, high = (1 - INTERVAL) / 2, (1 + INTERVAL) / 2
    return tuple(float(v) for v in np.quantile(values, [low, high]))


def _check_support(scores, rate):
    genuine, impostor = (
        int(pairs.sum(dtype=np.float64)) for pairs in (scores.genuine, scores.impostor)
    )
    if not genuine or not impostor:
        raise ValueError(
            "There must be pairs of one class and pairs of different classes. "
            f"Received: {genuine} genuine and {impostor} impostor pairs"
        )
    unknown = int(np.isfinite(scores.best_impostor).sum())
    least = int(np.ceil(1 / rate - 1e-9))
    for count, what in ((impostor, "impostor pairs"), (unknown, "queries")):
        if count < least:
            raise ValueError(
                f"A false match rate of {rate} needs at least {least} {what}: with "
                "fewer, not one of them may be accepted, and nothing is known of the "
                f"rate. Received: {count} {what}"
            )


def _checked(rows, labels, name, labels_name):
    from keras_distill.retrieval.scann_index import unit_rows

    try:
        rows = unit_rows(rows)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from error
    labels = np.asarray(labels)
    if labels.shape != (len(rows),):
        raise ValueError(
            f"`{labels_name}` must have shape ({len(rows)},), one for each row. "
            f"Received: {labels_name}.shape={labels.shape}"
        )
    return rows, labels


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
