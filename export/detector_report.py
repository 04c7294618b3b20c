"""Print what was measured when a detector's bundle was written."""


def show(out, manifest):
    """Prints sizes and average precision of the files, and their paths.

    Args:
        out: Path of the bundle.
        manifest: Dictionary, its manifest.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    measured, models = manifest["detection"], manifest["models"]
    names = manifest["class_names"]
    table = Table(
        title=f"{manifest['student']['name']}, {measured['boxes']:,} boxes of "
        f"{len(names):,} classes in {measured['images']:,} images to find",
        title_justify="left",
    )
    headings = ("size, kB", "AP, %", "drop", "AP50, %", "ms an image")
    for heading in ("", *headings):
        table.add_column(heading, justify="right" if heading else "left")
    whole = next(iter(models.values()))["bytes"]
    for stage in measured["stages"]:
        own = models.get(stage["name"])
        size = f"{own['bytes'] / 1000:,.1f} ({own['bytes'] / whole:.2f})" if own else ""
        time = stage["milliseconds"]
        table.add_row(
            stage["name"],
            size,
            f"{100 * stage['ap']:.2f}",
            f"{stage['drop']:.2f}",
            f"{100 * stage['ap50']:.2f}",
            "" if time is None else f"{time:.2f}",
        )
    console.print(table)
    last = measured["stages"][-1]
    classes = ", ".join(
        f"{name} {'none' if ap is None else f'{100 * ap:.1f}'}"
        for name, ap in last["classes"].items()
    )
    console.print(f"AP by class, {last['name']}: {classes}", highlight=False)
    calibration = manifest["calibration"]
    said = f"Found is what scores above {calibration['threshold']:.3f}"
    if "precision" in calibration:
        said += (
            f": {100 * calibration['precision']:.1f} % of that is right, "
            f"{100 * calibration['recall']:.1f} % of what there is, in "
            f"{calibration['images']:,} images trained on"
        )
    console.print(f"{said}.", style="dim", highlight=False)
    for name, facts in manifest["files"].items():
        console.print(f"{facts['bytes']:>12,}  {out / name}", highlight=False)
