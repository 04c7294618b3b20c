"""Print what was measured when a bundle was written, and where its files are."""

import json
import pathlib

from export import detector_report
from keras_distill import command_line


def main(argv=None):
    parser = command_line.parser(
        "export.report",
        "Print what was measured when a bundle was written, and where its files are.",
        "BUNDLE",
        "python -m export.report bundles/glyphs",
    )
    parser.add_argument("bundle", type=pathlib.Path, help="what export.bundle wrote")
    bundle = parser.parse_args(argv).bundle
    if not (bundle / "manifest.json").is_file():
        raise FileNotFoundError(f"There is no bundle here. Received: {bundle}")
    show(bundle, json.loads((bundle / "manifest.json").read_text(encoding="utf-8")))


def show(out, manifest):
    """Prints what was measured of the files of a bundle, and their paths.

    Args:
        out: Path of the bundle.
        manifest: Dictionary, its manifest.
    """
    if manifest.get("kind") == "detector":
        detector_report.show(out, manifest)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    catalogue = manifest["catalogue"]
    table = Table(
        title=f"{manifest['student']['name']}, {catalogue['images']:,} images of "
        f"{catalogue['classes']:,} classes to find",
        title_justify="left",
    )
    table.add_column("")
    for name in ("Keras", *manifest["models"]):
        table.add_column(name, justify="right")
    models = list(manifest["models"].values())
    whole = models[0]["bytes"]
    table.add_row(
        "size, kB",
        "",
        *(f"{m['bytes'] / 1000:,.1f} ({m['bytes'] / whole:.2f})" for m in models),
    )
    for label, key in (("mean cosine", "cosine_mean"), ("least cosine", "cosine_min")):
        table.add_row(label, "", *(f"{m[key]:.5f}" for m in models))
    recalls = [manifest["student"], *models]
    table.add_row("Recall@1, %", *(f"{100 * m['recall_at_1']:.2f}" for m in recalls))
    table.add_row("ms an image", "", *(f"{m['milliseconds']:.3f}" for m in models))
    console.print(table)
    console.print(
        f"Cosines to Keras over {models[0]['images']:,} images that took no part in "
        "training. One thread of this machine.",
        style="dim",
    )
    for facts in manifest["models"].values():
        if "quantization_aware" in facts:
            console.print(f"{facts['file']}: {trained(facts['quantization_aware'])}")
    if "search" in manifest:
        _show_search(console, manifest["search"])
    if manifest.get("thresholds"):
        _show_thresholds(console, manifest["thresholds"])
    if "group" in manifest:
        _show_group(console, manifest["group"])
    if "task_library" in manifest:
        _show_task_library(console, manifest["task_library"])
    for name, facts in manifest["files"].items():
        console.print(f"{facts['bytes']:>12,}  {out / name}", highlight=False)


def trained(facts):
    """A sentence of what training for int8 did.

    Args:
        facts: Dictionary, see `keras_distill.tflite.QuantizationAware.facts`.
    """
    kept = (
        "kept" if facts["trained"] else "not kept, the file is of the student as it was"
    )
    return (
        f"trained for 8 bits on {facts['images']:,} images, which took the mean cosine "
        f"over {facts['held_out']:,} others from {facts['cosine_before']:.6f} to "
        f"{facts['cosine_after']:.6f}: {kept}."
    )


def _show_search(console, search):
    how = (
        f"{search['probes']} of {search['lists']:,} lists"
        if search["kind"] == "inverted_file"
        else "all rows with one byte a number"
    )
    console.print(
        f"{search['file']}: {search['bytes'] / 1e6:,.2f} MB, an image to its "
        f"{search['k']} nearest in {search['milliseconds']:.3f} ms, recall "
        f"{search['recall']:.4f} over {search['queries']:,} queries ({how}, the best "
        f"{search['candidates']:,} with two).",
        style="dim",
    )


def _show_thresholds(console, thresholds):
    from rich.table import Table

    rate = thresholds["false_match_rate"]
    if not thresholds["models"]:
        console.print(f"No thresholds: {thresholds['refused']}", style="dim")
        return
    names = {
        "int8": "int8",
        "float32": "float32 among int8",
        "float_catalogue": "float32 on both sides",
    }
    models = {names[key]: found for key, found in thresholds["models"].items()}
    table = Table(
        title=f"Thresholds for a false match rate of {rate:g}", title_justify="left"
    )
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    for kind, label, accepted in (
        ("match", "match from", "pairs of one class accepted, %"),
        ("no_match", "in the catalogue from", "queries found and accepted, %"),
    ):
        found = [model[kind] for model in models.values()]
        table.add_row(
            label,
            *(_with_interval(f["threshold"], f["interval"], 1, ".4f") for f in found),
        )
        table.add_row(
            accepted,
            *(
                _with_interval(f["true_rate"], f["true_interval"], 100, ".1f")
                for f in found
            ),
        )
    console.print(table)
    first = next(iter(models.values()))
    pairs, queries = first["match"], first["no_match"]
    console.print(
        f"Of {pairs['true_count']:,} pairs of one class and {pairs['false_count']:,} "
        f"of different classes; {queries['true_count']:,} queries of classes in the "
        f"catalogue, {queries['false_count']:,} with it left out. Intervals: 95 % over "
        "classes.",
        style="dim",
    )


def _with_interval(value, interval, factor, form):
    low, high = (format(factor * some, form) for some in interval)
    return f"{format(factor * value, form)} ({low} to {high})"


def _show_group(console, group):
    from rich.table import Table

    models = group["models"]
    table = Table(
        title=f"{group['scorer']['name']}, which weighs the images of a group",
        title_justify="left",
    )
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    sizes = (f"{model['bytes'] / 1000:,.1f}" for model in models.values())
    table.add_row("size, kB", *sizes)
    for label, key, form in (
        ("mean difference", "difference_mean", ".5f"),
        ("largest difference", "difference_max", ".5f"),
        ("rank correlation", "rank_correlation", ".5f"),
        ("ms an image", "milliseconds", ".3f"),
    ):
        figures = [model[key] for model in models.values()]
        cells = ["none" if f is None else format(f, form) for f in figures]
        table.add_row(label, *cells)
    console.print(table)
    kept = "all that weigh something" if group["keep"] is None else group["keep"]
    console.print(
        f"Scores in [0, 1] against Keras, on images of which some are spoilt. Of a "
        f"group a device embeds: {kept}.",
        style="dim",
    )


def _show_task_library(console, section):
    index = section["index"]
    looks = (
        "every search looks at every row"
        if index["kind"] == "brute_force"
        else f"a search looks into {index['searched']} of {index['partitions']} parts"
    )
    console.print(
        f"{section['file']}, for the Task Library: {looks}; of the ten nearest it "
        f"finds {100 * section['recall_at_10']:.2f} % (of the ids of exact search "
        f"{100 * section['overlap_at_10']:.2f} %), its scores are off by at most "
        f"{section['score_difference']:.1e}, its embeddings by "
        f"{section['embedding_difference']:g}.",
        highlight=False,
    )


if __name__ == "__main__":
    command_line.run(main)
