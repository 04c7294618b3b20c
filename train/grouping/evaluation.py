"""One fold's groups: how well each pooling tells unseen classes apart."""

import numpy as np

from train.grouping import poolings, protocol
from train.grouping.members import look
from train.grouping.poolings import Members


def members(embedder, scorer, proxy, proxy_views, draws, views):
    """What the networks say of all groups of all draws.

    Draw t shows each of its images in view t.

    Args:
        embedder, scorer: `keras.Model`.
        proxy: `ImageSet` of the proxy classes.
        proxy_views: The `FixedViews` of them that the scorer learned from.
        draws: `protocol.Draws` of other classes.
        views: `FixedViews` of their images, as many as draws.

    Returns:
        `Members` with a leading axis of draws.
    """
    from keras_distill.methods.ddl import discriminability

    which = np.arange(proxy_views.count)[:, None]
    known, _ = look(embedder, proxy, proxy_views, np.arange(len(proxy)), which)
    known = known.features.reshape(-1, known.features.shape[-1])
    labels = np.tile(proxy.labels, proxy_views.count)
    measured = discriminability(known, labels)

    which = np.arange(len(draws.rows))[:, None, None]
    seen, scores = look(embedder, draws.images, views, draws.rows, which, scorer)
    flat = seen.features.reshape(-1, seen.features.shape[-1])
    own = np.broadcast_to(draws.labels[None, :, None], draws.rows.shape).reshape(-1)
    truth = discriminability(flat, own).indicator
    return Members(
        seen.units,
        seen.norms,
        poolings.nearest(
            seen.units,
            poolings.centroids(known, labels),
            measured.mean,
            measured.std,
        ),
        scores,
        truth.reshape(draws.rows.shape),
    )


def of_draw(members, number):
    """The `Members` of one draw."""
    return Members(*(None if part is None else part[number] for part in members))


def evaluate(members, draws):
    """Figures of a fold: means over its draws.

    Args:
        members: What `members` returned.
        draws: `protocol.Draws`.

    Returns:
        Dictionary with `figures`, a dictionary from poolings to figures; `kept`, see
        `kept`; `pairs`; and `correlation`, Spearman's, of scores and true indicators.
    """
    from scipy.stats import spearmanr

    each, kept_each = [], []
    for number in range(len(draws.rows)):
        groups = of_draw(members, number)
        vectors = poolings.pooled(groups)
        each.append({k: protocol.figures(v, draws) for k, v in vectors.items()})
        kept_each.append(kept(groups, draws))
    genuine, impostor = draws.pairs
    return {
        "figures": _mean(each),
        "kept": _mean(kept_each),
        "pairs": {"genuine": genuine, "impostor": impostor},
        "correlation": float(
            spearmanr(members.scores.reshape(-1), members.truth.reshape(-1)).statistic
        ),
    }


def kept(members, draws):
    """Figures of groups of which only k members are embedded, for each k.

    Args:
        members: `Members` of one draw.
        draws: `protocol.Draws`.

    Returns:
        Dictionary with `best`, the k of the highest scores pooled as DDL does, and
        `random`, the mean of k by lot: each from `"1"`, ..., `"N"` to figures.
    """
    size = members.scores.shape[1]
    best, random = {}, {}
    for k in range(1, size + 1):
        vectors = poolings.weighted(members.units, members.scores, keep=k)
        best[str(k)] = protocol.figures(vectors, draws)
        # The order within a group is by lot.
        random[str(k)] = protocol.figures(members.units[:, :k].mean(axis=1), draws)
    return {"best": best, "random": random}


def _mean(each):
    """Means over a list of dictionaries, to any depth, of floats."""
    if isinstance(each[0], dict):
        return {name: _mean([some[name] for some in each]) for name in each[0]}
    return float(np.mean(each))
