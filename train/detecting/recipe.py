"""What a comparison of detectors is: a JSON file, read strictly."""

import dataclasses

from train.comparison import fields
from train.detector_sizes import HEADS

# Arguments of `train.detector` that a recipe may set, as numbers.
ARGUMENTS = ("image_size", "epochs", "batch_size", "learning_rate", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A comparison of ways to go on with a trained student.

    Attributes:
        name: String of letters, digits, `_` and `-`: names the folder of results.
        data: What `train.detector` takes as `--data`.
        detector: One of `train.detector_sizes.HEADS`.
        arguments: Dictionary of `ARGUMENTS` that hold for all runs.
        teacher: Dictionary: `seed`, and those `ARGUMENTS` that are others.
        student: Dictionary of those `ARGUMENTS` that are others while students are
            trained from nothing, before the methods go on with them.
        seeds: List of different integers >= 0.
        baseline: The method that the others are compared with.
        methods: From a name to a dictionary. `method`: name of one of
            `train.methods`, `None` to go on without a teacher; `options`: its
            arguments; `freeze_statistics`: whether batch normalisation keeps the
            averages that it begins with; `against`: another method that it is compared
            with besides the baseline, or `None`.
        about: A sentence for the table.
    """

    name: str
    data: str
    detector: str
    arguments: dict
    teacher: dict
    student: dict
    seeds: list
    baseline: str
    methods: dict
    about: str = ""


def read(path):
    """The `Recipe` in a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a recipe; the message says what was expected.
    """
    return fields.read(path, parse)


def parse(raw):
    """The `Recipe` of a dictionary as JSON gives it; raises ValueError."""
    names = {field.name for field in dataclasses.fields(Recipe)}
    fields.known(raw, "recipe", names - {"about"}, {"about"})
    detector = fields.text(raw["detector"], "detector")
    if detector not in HEADS:
        raise ValueError(
            f"`detector` must be one of {', '.join(HEADS)}. "
            f"Received: detector={detector!r}"
        )
    recipe = Recipe(
        name=fields.name(raw["name"]),
        data=fields.text(raw["data"], "data"),
        detector=detector,
        arguments=_arguments(raw["arguments"], "arguments"),
        teacher=_teacher(raw["teacher"]),
        student=_arguments(raw["student"], "student"),
        seeds=fields.seeds(raw["seeds"], "seeds"),
        baseline=fields.text(raw["baseline"], "baseline"),
        methods=_methods(raw["methods"]),
        about=fields.text(raw.get("about", " "), "about").strip(),
    )
    for where, name in [
        ("baseline", recipe.baseline),
        *((f"methods.{k}.against", v["against"]) for k, v in recipe.methods.items()),
    ]:
        if name is not None and name not in recipe.methods:
            raise ValueError(
                f"`{where}` must be one of the methods: {', '.join(recipe.methods)}. "
                f"Received: {name!r}"
            )
    return recipe


def _arguments(raw, where):
    fields.known(raw, where, (), ARGUMENTS)
    found = {}
    for name in raw:
        value = raw[name]
        if name == "image_size":
            if not isinstance(value, list) or len(value) != 2:
                raise ValueError(
                    f"`{where}.image_size` must be [height, width]. Received: {value!r}"
                )
            found[name] = [fields.count(side, f"{where}.image_size") for side in value]
        elif name in ("learning_rate", "weight_decay"):
            found |= fields.optimizer({name: value}, where)
        else:
            found[name] = fields.count(value, f"{where}.{name}")
    return found


def _teacher(raw):
    found = _arguments({k: v for k, v in raw.items() if k != "seed"}, "teacher")
    return {**found, "seed": fields.count(raw.get("seed", 0), "teacher.seed", least=0)}


def _methods(raw):
    if not isinstance(raw, dict) or not raw:
        raise ValueError(
            "`methods` must be an object from names to methods. "
            f"Received: methods={raw!r}"
        )
    found = {}
    for name, entry in raw.items():
        where = f"methods.{fields.method_name(name)}"
        optional = {"options", "freeze_statistics", "against"}
        fields.known(entry, where, {"method"}, optional)
        options = fields.options(entry.get("options", {}), f"{where}.options")
        method = entry["method"]
        if method is not None:
            fields.text(method, f"{where}.method")
        elif options:
            raise ValueError(
                f"`{where}` has no method, and so no options. Received: {options}"
            )
        freeze = entry.get("freeze_statistics", False)
        if not isinstance(freeze, bool):
            raise ValueError(
                f"`{where}.freeze_statistics` must be true or false. "
                f"Received: {freeze!r}"
            )
        found[name] = {
            "method": method,
            "options": options,
            "freeze_statistics": freeze,
            "against": entry.get("against"),
        }
    return found
