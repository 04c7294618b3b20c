"""Print what a detector's run measured, and where its files are."""

import json
import math
import pathlib

COLUMNS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")
HEADINGS = ("AP", "AP50", "AP75", "small", "medium", "large", "AR")


def show(run):
    """Prints the metrics of the run in the folder `run`, and the paths of its files.

    Args:
        run: Path of the folder of a finished run.
    """
    run = pathlib.Path(run)
    metrics = json.loads((run / "metrics.json").read_text())
    last = dict(metrics["last"])
    print_table(f"{run}, epoch {last.pop('epoch')}", last["evaluation"])
    training = metrics["training"]
    print(
        f"{training['images']:,} images in {training['seconds']:.0f} s of training "
        f"({training['images_per_second']:,.1f} images/s); "
        f"{metrics['skipped_images']} unusable images skipped, "
        f"{metrics['dropped_boxes']} boxes without area dropped"
    )
    for path in sorted(run.iterdir()):
        print(f"  {path}{'/' if path.is_dir() else ''}")


def print_table(title, report):
    """Prints a `metrics.detection_report`, in per cent.

    Args:
        title: String above the table.
        report: As `plain` leaves it, or with NaN for what there is nothing of.
    """
    import rich.box
    import rich.console
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("per cent")
    for heading in (*HEADINGS, "boxes"):
        table.add_column(heading, justify="right")
    rows = {"all": {**report, "boxes": _sum(report)}, **report["classes"]}
    for name, values in rows.items():
        figures = [_figure(values.get(column)) for column in COLUMNS]
        table.add_row(name, *figures, f"{values['boxes']:,}")
    print(title)
    rich.console.Console(highlight=False).print(table)


def plain(report):
    """A report as JSON can hold it: `None` for NaN, what there are no boxes for."""
    if isinstance(report, dict):
        return {name: plain(value) for name, value in report.items()}
    return None if isinstance(report, float) and math.isnan(report) else report


def _sum(report):
    return sum(values["boxes"] for values in report["classes"].values())


def _figure(value):
    return "" if value is None or math.isnan(value) else f"{100 * value:.1f}"
