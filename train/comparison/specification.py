"""Methods and augmentation, from what a recipe says of them.

Each is `{"class": name, **arguments}`. Arguments that a recipe leaves out are put in
at their defaults, so that results say which they were, and a default that changes
later is noticed.
"""

import inspect
import json

import keras_distill as kd
from train import methods

# The layers of `keras_distill.layers` that vary images; the first where none is named.
AUGMENT = ("RandomAffine", "RandomDegradation", "RandomElastic", "RandomStrokeWidth")


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
        name: What settings call a method, a loss or a layer that augments.

    Returns:
        Dictionary from arguments to values; empty of what is no such class.
    """
    if name in AUGMENT:
        made = getattr(kd.layers, name)
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


def resolved_augment(augment):
    """An augmentation, completed likewise.

    Args:
        augment: Arguments of a layer, of `RandomAffine` where they name no `class`; a
            list of such, applied in order; or `None`, for none.

    Raises:
        ValueError: If a class is unknown or takes no such argument.
    """
    if augment is None:
        return None
    if isinstance(augment, list):
        return [resolved_augment(one) for one in augment]
    given = {"class": AUGMENT[0], **augment}
    name = given.pop("class")
    if name not in AUGMENT:
        raise ValueError(
            f"Unknown augmentation. Expected one of {', '.join(AUGMENT)}. "
            f"Received: class={name!r}"
        )
    return completed(name, getattr(kd.layers, name), given, ("seed",))


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
    """The layer of a specification, the layers of a list of them; `None` of `None`."""
    if spec is None:
        return None
    if isinstance(spec, list):
        return [make_augment(one) for one in spec]
    options = {key: value for key, value in spec.items() if key != "class"}
    return getattr(kd.layers, spec["class"])(**options)


def _defaults(made):
    parameters = inspect.signature(made).parameters
    return {k: p.default for k, p in parameters.items() if _is_plain(p.default)}


def _is_spec(value):
    return isinstance(value, dict) and "class" in value


def _is_plain(value):
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
