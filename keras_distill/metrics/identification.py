"""Who is it, of those in the gallery?"""

import typing

import numpy as np

from keras_distill.metrics.labelled_rows import check_same_width, labelled_rows
from keras_distill.metrics.ranking import checked_ks, ranked_matches


class Identification(typing.NamedTuple):
    """What `identification` measured.

    Attributes:
        rates: Dictionary from each k to the share of mated probes of rank k or
            better, floats in [0, 1].
        ranks: Int array `(P,)`: the place, from 1, of the first gallery row of the
            probe's class; 0 of an unmated probe.
        mated: How many probes have their class in the gallery.
        unmated: How many have not, and are left out of the rates.
    """

    rates: dict
    ranks: np.ndarray
    mated: int
    unmated: int


def identification(gallery, gallery_labels, probes, probe_labels, ks=(1, 5)):
    """Closed-set identification: is the probe's class among the first k rows?

    Gallery rows are ranked by cosine; of equal ones the lower index comes first. Where
    a class has several rows in the gallery, its first counts. A row of zeros, which is
    what an empty group becomes, has cosine 0 with all: such a probe finds the gallery
    in its own order. A gallery of `k` rows or fewer holds every mated probe's class.

    It differs from `recall_at_k` in the probes that have nothing to find: they are
    left out here, and counted apart.

    Args:
        gallery: Array `(M, D)`, any scale: one vector a group, or an image.
        gallery_labels: Array `(M,)`, its classes.
        probes: Array `(P, D)`, of what is not in the gallery.
        probe_labels: Array `(P,)`.
        ks: Positive integers.

    Returns:
        `Identification`.

    Raises:
        ValueError: If shapes do not fit, a vector is not finite, a k is not positive,
            or no probe is mated.
    """
    ks = checked_ks(ks)
    gallery, gallery_labels = labelled_rows(
        gallery, gallery_labels, "gallery", "gallery_labels"
    )
    probes, probe_labels = labelled_rows(probes, probe_labels, "probes", "probe_labels")
    check_same_width(gallery, probes, ("gallery", "probes"))
    mated = np.isin(probe_labels, gallery_labels)
    if not mated.any():
        raise ValueError(
            "The gallery must hold the class of at least one probe. Received: "
            f"{len(probe_labels)} probes, none of them mated"
        )
    # All depths are equal, so that the blocks are in the order of the probes.
    ranks = np.concatenate(
        [
            np.where(matches.any(axis=1), matches.argmax(axis=1) + 1, 0)
            for matches, _ in ranked_matches(
                gallery,
                gallery_labels,
                [len(gallery)],
                query_embeddings=probes,
                query_labels=probe_labels,
            )
        ]
    )
    return Identification(
        {k: float(np.mean(ranks[mated] <= k)) for k in ks},
        ranks,
        int(mated.sum()),
        int((~mated).sum()),
    )
