"""The golden images of a bundle: what they gave at the export, and give here."""

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.golden_file import read_golden
from keras_distill.device.group_weights import group_weights

HOLDS = "images of the bundle with their embeddings, ids and scores"

# Weights are sums and quotients of a few numbers: all float32 rounding there is.
_WEIGHT_TOLERANCE = 1e-5
# The search file has 16 bits of each number of the catalogue.
_SEARCH_TOLERANCE = 1e-3


def check_golden(bundle, min_cosine, max_score_difference, max_image_score_difference):
    """See `keras_distill.device.bundle.Bundle.check_golden`."""
    golden = read_golden(bundle, _check_shapes, HOLDS)
    found = _search_figures(bundle, golden)
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
    if "search" in bundle.manifest:
        found |= _search_file_figures(bundle, golden)
        if not (
            found["search_cosine_min"] >= min_cosine
            and found["search_score_difference"] <= _SEARCH_TOLERANCE
        ):
            raise BundleError(
                "The search file must embed the golden images with a cosine of at "
                f"least {min_cosine} to the stored embeddings, and score what it finds "
                f"within {_SEARCH_TOLERANCE} of its embedding's exact scores. "
                f"Received: {found}"
            )
    if "group" not in bundle.manifest:
        return found
    found |= _group_figures(bundle, golden)
    if not (
        found["image_score_difference"] <= max_image_score_difference
        and found["group_weight_difference"] <= _WEIGHT_TOLERANCE
        and found["group_cosine"] >= min_cosine
    ):
        raise BundleError(
            "The golden images must be scored within "
            f"{max_image_score_difference} of the stored scores, and the golden group "
            f"must have the stored weights within {_WEIGHT_TOLERANCE} and a cosine of "
            f"at least {min_cosine} to the stored embedding. Received: {found}"
        )
    return found


def _check_shapes(golden, bundle):
    count, k = golden["ids"].shape
    shapes = {
        "images": (count, *bundle.image_shape),
        "embeddings": (count, bundle.dim),
        "scores": (count, k),
    }
    if "group" in bundle.manifest:
        (some,) = golden["group_scores"].shape
        shapes |= {
            "image_scores": (count,),
            "group_images": (some, *bundle.image_shape),
            "group_weights": (some,),
            "group_embedding": (bundle.dim,),
        }
    for name, shape in shapes.items():
        kind = "u" if name.endswith("images") else "f"
        if golden[name].shape != shape or golden[name].dtype.kind != kind:
            raise ValueError(f"{name} is {golden[name].dtype}{golden[name].shape}")
    if not count or not 1 <= k <= len(bundle):
        raise ValueError(f"ids have shape {golden['ids'].shape}")
    unknown = {*golden["ids"].ravel().tolist()} - {*bundle.ids}
    if unknown:
        raise ValueError(f"ids are not in the catalogue: {sorted(unknown)[:3]}")


def _search_figures(bundle, golden):
    rows = bundle.embed(golden["images"])
    expected = golden["embeddings"]
    cosines = np.sum(rows * expected, axis=1) / np.linalg.norm(rows, axis=1)
    count, k = golden["ids"].shape
    ids, _ = bundle.search(rows, k, "numpy")
    index = {name: i for i, name in enumerate(bundle.ids)}
    stored = bundle.rows[[[index[name] for name in row] for row in golden["ids"]]]
    scores = np.einsum("qd,qkd->qk", rows, stored)
    pairs = zip(ids, golden["ids"], strict=True)
    overlaps = [len({*here} & {*there}) / k for here, there in pairs]
    return {
        "runtime": bundle.runtime.name,
        "runtime_version": bundle.runtime.version,
        "images": count,
        "k": k,
        "cosine_mean": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
        "score_difference": float(np.abs(scores - golden["scores"]).max()),
        "top_1_same": float(np.mean(np.array(ids)[:, 0] == golden["ids"][:, 0])),
        "overlap_at_k": float(np.mean(overlaps)),
    }


def _search_file_figures(bundle, golden):
    k = min(golden["ids"].shape[1], bundle.manifest["search"]["k"])
    images, expected = golden["images"], golden["embeddings"]
    scores, indices, rows = bundle.search_file().search(images, len(bundle))
    exact = np.einsum("qd,qkd->qk", rows, bundle.rows[indices])
    ids = [[bundle.ids[i] for i in row if i >= 0][:k] for row in indices]
    pairs = list(zip(ids, golden["ids"][:, :k], strict=True))
    cosines = np.sum(rows * expected, axis=1) / np.linalg.norm(rows, axis=1)
    return {
        "search_cosine_min": float(cosines.min()),
        "search_score_difference": float(np.abs(scores - exact)[indices >= 0].max()),
        "search_top_1_same": float(np.mean([a[0] == b[0] for a, b in pairs])),
        "search_overlap_at_k": float(np.mean([len({*a} & {*b}) / k for a, b in pairs])),
    }


def _group_figures(bundle, golden):
    options = bundle.manifest["group"]
    scores = bundle.score(golden["images"])
    # From the stored scores: stretching them would stretch what runtimes round.
    weights = group_weights(
        golden["group_scores"],
        options["rescale_above"],
        options["threshold"],
        options["keep"],
    )
    group = bundle.embed_group(golden["group_images"])
    return {
        "image_score_difference": float(np.abs(scores - golden["image_scores"]).max()),
        "group_weight_difference": float(
            np.abs(weights - golden["group_weights"]).max()
        ),
        "group_images": len(weights),
        "group_embedded": len(group.embedded),
        "group_cosine": float(group.embedding @ golden["group_embedding"]),
    }
