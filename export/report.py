"""Print what was measured when a bundle was written, and where its files are."""

import json
import pathlib

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
    if "group" in manifest:
        _show_group(console, manifest["group"])
    if "task_library" in manifest:
        _show_task_library(console, manifest["task_library"])
    for name, facts in manifest["files"].items():
        console.print(f"{facts['bytes']:>12,}  {out / name}", highlight=False)


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
        f"finds {100 * section['recall_at_10']:.2f} %, its scores are off by at most "
        f"{section['score_difference']:.1e}, its embeddings by "
        f"{section['embedding_difference']:g}.",
        highlight=False,
    )


if __name__ == "__main__":
    command_line.run(main)
