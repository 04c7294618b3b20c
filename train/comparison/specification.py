"""Methods and augmentation, from what a recipe says of them.

Each is `{"class": name, **arguments}`. Arguments that a recipe leaves out are put in
at their defaults, so that results say which they were, and a default that changes
later is noticed.
"""

import inspect
import json

import keras_distill as kd
from train import methods

AUGMENT = "RandomAffine"


def known():
    """Dictionary from the class names of the methods to the classes."""
    return {
        name: made
        for name, made in vars(kd.methods).items()
        if inspect.isclass(made)
        and issubclass(made, kd.methods.Method)
        and "name" in inspect.signature(made).parameters
    }


def resolved(spec):
    """A method's specification, completed by the defaults of its class.

    Args:
        spec: `{"class": "S2SD", "dims": [256]}`; an argument may be a specification
            itself, as the term of `PAD` is.

    Raises:
        ValueError: If the class is unknown or takes no such argument.
    """
    name = spec.get("class")
    if name not in known():
        raise ValueError(
            f"Unknown method. Expected one of {', '.join(known())}. "
            f"Received: class={name!r}"
        )
    given = {key: value for key, value in spec.items() if key != "class"}
    given = {key: resolved(v) if _is_spec(v) else v for key, v in given.items()}
    return completed(name, known()[name], given, ("name",))


def completed(name, made, given, left_out):
    """`{"class": name, **arguments}`, with the defaults of what was not given.

    Args:
        name: What recipes call the class.
        made: The class.
        given: Dictionary of arguments.
        left_out: Arguments that recipes do not give.

    Raises:
        ValueError: If the class takes no such argument, or needs one that is missing.
    """
    methods.check(given, made, f'"class": "{name}"')
    parameters = inspect.signature(made).parameters
    missing = [
        key
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        if key not in (*given, *left_out, "kwargs")
    ]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}. Received: {given}")
    kept = {k: v for k, v in _defaults(made).items() if k not in left_out}
    return json.loads(json.dumps({"class": name, **kept, **given}))


def defaults(name):
    """The defaults of a class, as settings hold them.

    Args:
        name: What settings call a method, a loss or the augmentation.

    Returns:
        Dictionary from arguments to values; empty of what is no such class.
    """
    if name == AUGMENT:
        made = kd.layers.RandomAffine
    elif name in known():
        made = known()[name]
    else:
        try:
            made = type(kd.losses.get(name, num_classes=2))
        except ValueError:
            return {}
    return json.loads(json.dumps(_defaults(made)))


def needs_teacher(spec):
    """Whether the method of a specification learns from a teacher."""
    return known()[spec["class"]].needs_teacher


def teacher_layers(specs):
    """The layers of the teacher that methods learn from, `None` for its output."""
    found = []
    for spec in specs:
        if not needs_teacher(spec):
            continue
        terms = [value for value in spec.values() if _is_spec(value)]
        found += teacher_layers(terms) or [spec.get("teacher_layer")]
    return list(dict.fromkeys(found))


def resolved_augment(options):
    """The same of `layers.RandomAffine`; `None` of `None`."""
    if options is None:
        return None
    return completed(AUGMENT, kd.layers.RandomAffine, options, ("seed",))


def make(spec, teacher_dim=None):
    """The method of a specification.

    Args:
        spec: See `resolved`.
        teacher_dim: Width of what is cached of the teacher, for the terms that must
            know it. The cache is of the `teacher_layer`: to the terms it is all that
            the teacher says.
    """
    made = known()[spec["class"]]
    options = {
        key: make(value, teacher_dim) if _is_spec(value) else value
        for key, value in spec.items()
        if key != "class"
    }
    if teacher_dim is not None:
        options.pop("teacher_layer", None)
        if getattr(made, "same_width", False) and options.get("teacher_dim") is None:
            options["teacher_dim"] = teacher_dim
    return made(**options)


def make_augment(spec):
    """The augmentation of a specification; `None` of `None`."""
    if spec is None:
        return None
    options = {key: value for key, value in spec.items() if key != "class"}
    return kd.layers.RandomAffine(**options)


def _defaults(made):
    parameters = inspect.signature(made).parameters
    return {k: p.default for k, p in parameters.items() if _is_plain(p.default)}


def _is_spec(value):
    return isinstance(value, dict) and "class" in value


def _is_plain(value):
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
