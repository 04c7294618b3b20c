"""Print what a finished run measured, and where its files are."""

import json
import pathlib

from keras_distill import command_line

COLUMNS = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r")
COLUMNS += ("nmi",)
HEADINGS = ("R@1", "R@2", "R@4", "R@8", "MAP@R", "NMI")


def main(argv=None):
    parser = command_line.parser(
        "train.report",
        "Print what a finished run measured, and where its files are.",
        "RUN",
        "python -m train.report runs/glyphs",
    )
    parser.add_argument("run", type=pathlib.Path, help="folder of a finished run")
    show(parser.parse_args(argv).run)


def show(run):
    """Prints the metrics of the run in the folder `run`, and the paths of its files.

    Raises:
        FileNotFoundError: If there is no finished run.
    """
    run = pathlib.Path(run)
    if not (run / "metrics.json").is_file():
        raise FileNotFoundError(f"There is no finished run here. Received: {run}")
    metrics = json.loads((run / "metrics.json").read_text())
    rows = {}
    for when in ("last", "best"):
        reports = dict(metrics.get(when, {}))
        epoch = reports.pop("epoch", None)
        for name, values in reports.items():
            rows[f"{name}, {when} ({epoch})"] = values
    print_table(f"Retrieval among classes not trained on: {run}", rows)
    training = metrics["training"]
    print(
        f"{training['images']:,} images in {training['seconds']:.0f} s of training "
        f"({training['images_per_second']:,.0f} images/s); "
        f"{metrics['skipped_images']} unreadable images skipped"
    )
    for path in sorted(run.iterdir()):
        print(f"  {path}{'/' if path.is_dir() else ''}")


def print_table(title, rows):
    """Prints one row of percentages for each retrieval report.

    Args:
        title: String above the table.
        rows: Dictionary from the name of a row to a dictionary with the `COLUMNS`.
    """
    import rich.box
    import rich.console
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("per cent")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for name, report in rows.items():
        table.add_row(name, *(f"{100 * report[column]:.2f}" for column in COLUMNS))
    print(title)
    rich.console.Console(highlight=False).print(table)


if __name__ == "__main__":
    command_line.run(main)
