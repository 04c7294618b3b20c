"""One page of all that was measured of a bundle: no script, nothing to load."""

import base64
import io

import numpy as np

from keras_distill.retrieval.page_markup import (
    as_text,
    html_section,
    html_table,
    or_dash,
)
from keras_distill.retrieval.report_searches import SEARCHES, search_files
from keras_distill.retrieval.report_style import STYLE

THUMBNAIL = 96  # pixels, the longer side of larger images
COLUMNS = (
    ("recall_at_1", "Recall@1, %", lambda v: f"{100 * v:.2f}"),
    ("drop", "points to Keras", lambda v: f"{-v:+.2f}" if abs(v) > 5e-3 else "0"),
    ("map_at_r", "MAP@R, %", lambda v: f"{100 * v:.2f}"),
    ("overlap_at_10", "ten nearest in common, %", lambda v: f"{100 * v:.2f}"),
    ("cosine_mean", "mean cosine", lambda v: f"{v:.5f}"),
    ("cosine_min", "least cosine", lambda v: f"{v:.5f}"),
    ("milliseconds", "ms a query", lambda v: f"{v:.3f}"),
)


def report_page(manifest, catalogue, worst):
    """Writes the report of a bundle as HTML.

    Args:
        manifest: Dictionary, the manifest of the bundle with its files so far.
        catalogue: Its `ImageSet`, for pictures and names.
        worst: List of `(query, by_keras, by_int8)`, see `RetrievalBudget.worst`.

    Returns:
        String, a page that needs no other file; dark where the reader's system is.
    """
    title = f"{manifest['student']['name']} on {catalogue.name}"
    body = "\n".join(
        [
            _summary(title, manifest),
            _stages(manifest["retrieval"]),
            _models(manifest["models"]),
            *([search_files(manifest)] if SEARCHES & manifest.keys() else []),
            _worst(catalogue, worst),
            _files(manifest),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{as_text(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _summary(title, manifest):
    models, found = manifest["models"], manifest["retrieval"]["stages"]
    int8 = next(stage for stage in found if stage["name"] == "int8")
    small, whole = models["int8"]["bytes"], models["float32"]["bytes"]
    catalogue = manifest["catalogue"]
    figures = [
        (f"{100 * int8['recall_at_1']:.2f} %", "of queries find their class first"),
        (_points(int8["drop"]), "of Recall@1 between Keras and int8"),
        (f"{small / 1000:,.1f} kB", f"{small / whole:.2f} of the float file"),
        (f"{int8['milliseconds']:.2f} ms", "an image, one thread of the exporter"),
    ]
    cards = "".join(
        f"<li><strong>{as_text(value)}</strong><span>{as_text(what)}</span></li>"
        for value, what in figures
    )
    about = (
        f"{catalogue['images']:,} images of {catalogue['classes']:,} classes to find, "
        f"by {manifest['output']['dim']} numbers each"
    )
    return (
        f"<header><h1>{as_text(title)}</h1><p>{as_text(about)}</p></header>\n"
        f'<ul class="figures">{cards}</ul>'
    )


def _points(drop):
    if abs(drop) < 5e-3:
        return "no point"
    return f"{abs(drop):.2f} points {'lost' if drop > 0 else 'won'}"


def _stages(retrieval):
    rows = [
        [stage["name"], *(or_dash(stage[key], form) for key, _, form in COLUMNS)]
        for stage in retrieval["stages"]
    ]
    note = (
        f"{retrieval['queries']:,} images of the catalogue, each searched among the "
        "others. Every stage is compared with exact search of what Keras gives; one "
        f"that lay more than {retrieval['allowed_drop']:.2g} points of Recall@1 below "
        "would have stopped the export. Milliseconds are of one embedding; of ScaNN, "
        "of the search, asked for all queries at once."
    )
    names = ["stage", *(name for _, name, _ in COLUMNS)]
    return html_section("Retrieval, stage by stage", note, html_table(names, rows))


def _models(models):
    whole = models["float32"]["bytes"]
    rows = [
        [
            facts["file"],
            f"{facts['bytes'] / 1000:,.1f}",
            f"{facts['bytes'] / whole:.2f}",
            f"{facts['milliseconds']:.3f}",
            f"{facts['cosine_mean']:.5f}",
            f"{facts['cosine_min']:.5f}",
            f"{facts['norm_min']:.5f} to {facts['norm_max']:.5f}",
        ]
        for facts in models.values()
    ]
    names = ["file", "kB", "of float", "ms an image", "mean cosine", "least cosine"]
    held_out = next(iter(models.values()))["images"]
    note = f"Cosines to Keras and lengths over {held_out:,} images not trained on."
    for facts in models.values():
        if "quantization_aware" in facts:
            note += _trained(facts["file"], facts["quantization_aware"])
    return html_section("Networks", note, html_table([*names, "length of rows"], rows))


def _trained(file, facts):
    kept = "was kept" if facts["trained"] else "was not kept, for it is no nearer"
    return (
        f" The student of {file} was trained for 8 bits on {facts['images']:,} "
        f"training images. That took the mean cosine over {facts['held_out']:,} others "
        f"from {facts['cosine_before']:.6f} to {facts['cosine_after']:.6f}, and {kept}."
    )


def _worst(catalogue, worst):
    indices = np.unique(np.concatenate([[q, *a, *b] for q, a, b in worst]))
    pictures = dict(
        zip(indices.tolist(), map(_data, catalogue.read(indices)), strict=True)
    )
    cards = []
    for query, by_keras, by_int8 in worst:
        same = len({*by_keras.tolist()} & {*by_int8.tolist()})
        strips = "".join(
            f'<div class="strip"><span>{name}</span><ol>'
            + "".join(
                _thumbnail(catalogue, pictures, int(found), int(query), others)
                for found in lists
            )
            + "</ol></div>"
            for name, lists, others in (
                ("Keras", by_keras, {*by_int8.tolist()}),
                ("int8", by_int8, {*by_keras.tolist()}),
            )
        )
        cards.append(
            f'<article><figure><img src="{pictures[int(query)]}" alt="query">'
            f"<figcaption><b>{as_text(_class(catalogue, query))}</b> "
            f"{same} of {len(by_keras)} in common</figcaption></figure>"
            f'<div class="strips">{strips}</div></article>'
        )
    note = (
        "The queries whose neighbours change most between Keras and int8, worst first. "
        "Solid: of the query's class. Dashed: of another. A dot: not in the other list."
    )
    return html_section("What 8 bits change", note, "".join(cards))


def _thumbnail(catalogue, pictures, index, query, others):
    same = catalogue.labels[index] == catalogue.labels[query]
    kinds = ["same" if same else "other", *(["new"] if index not in others else [])]
    name = as_text(f"{_class(catalogue, index)}: {catalogue.ids[index]}")
    return (
        f'<li class="{" ".join(kinds)}"><img src="{pictures[index]}" '
        f'title="{name}" alt="{name}"></li>'
    )


def _files(manifest):
    rows = [
        [name, f"{facts['bytes']:,}", facts["sha256"][:16] + "…"]
        for name, facts in manifest["files"].items()
    ]
    written = ", ".join(f"{k} {v}" for k, v in manifest["written_by"].items())
    table = html_table(["file", "bytes", "sha256"], rows)
    return html_section("Files", f"Written by {written}.", table)


def _class(catalogue, index):
    return catalogue.class_names[catalogue.labels[index]]


def _data(pixels):
    """An image as the address that holds it: PNG if small, else a JPEG thumbnail."""
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    kind = "PNG" if max(picture.size) <= THUMBNAIL else "JPEG"
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, kind)
    data = base64.b64encode(stream.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{data}"
