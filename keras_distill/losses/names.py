"""Losses by name, for programs."""

import inspect

from keras_distill.losses.arc_face import ArcFace
from keras_distill.losses.contrastive import Contrastive
from keras_distill.losses.lifted_structure import LiftedStructure
from keras_distill.losses.margin import Margin
from keras_distill.losses.multi_similarity import MultiSimilarity
from keras_distill.losses.n_pairs import NPairs
from keras_distill.losses.normalized_softmax import NormalizedSoftmax
from keras_distill.losses.nt_xent import NTXent
from keras_distill.losses.proxy_anchor import ProxyAnchor
from keras_distill.losses.proxy_nca import ProxyNCA
from keras_distill.losses.triplet_hard import TripletHard
from keras_distill.losses.triplet_semi_hard import TripletSemiHard

_CLASSES = {
    "arc_face": ArcFace,
    "contrastive": Contrastive,
    "lifted_structure": LiftedStructure,
    "margin": Margin,
    "multi_similarity": MultiSimilarity,
    "n_pairs": NPairs,
    "normalized_softmax": NormalizedSoftmax,
    "nt_xent": NTXent,
    "proxy_anchor": ProxyAnchor,
    "proxy_nca": ProxyNCA,
    "triplet_hard": TripletHard,
    "triplet_semi_hard": TripletSemiHard,
}


def names():
    """The names that `get` knows, sorted."""
    return tuple(_CLASSES)


def needs_num_classes(name):
    """Whether the loss called `name` has to be told the number of classes."""
    return "num_classes" in inspect.signature(_find(name)).parameters


def get(name, num_classes=None, **arguments):
    """Makes a loss from its name.

    Args:
        name: String, one of `names()`. Case, `_` and `-` do not matter: `"n_pairs"`,
            `"npairs"` and `"NPairs"` are one.
        num_classes: Integer. Handed to the losses that need it (`needs_num_classes`),
            not used for the others, so that a program need not know which.
        **arguments: The other arguments of the class.

    Returns:
        A `keras.losses.Loss`.

    Raises:
        ValueError: If the name is unknown, or `num_classes` is needed and missing.

    Example:
        loss = get("proxy_anchor", num_classes=100, alpha=16.0)
    """
    cls = _find(name)
    if needs_num_classes(name):
        if num_classes is None:
            raise ValueError(
                f"The loss {name!r} has weights for each class: give `num_classes`. "
                "Received: num_classes=None"
            )
        arguments["num_classes"] = num_classes
    return cls(**arguments)


def _find(name):
    known = {_plain(key): cls for key, cls in _CLASSES.items()}
    try:
        return known[_plain(name)]
    except KeyError:
        raise ValueError(
            f"Unknown loss. Known are: {', '.join(names())}. Received: name={name!r}"
        ) from None


def _plain(name):
    return str(name).lower().replace("_", "").replace("-", "")
