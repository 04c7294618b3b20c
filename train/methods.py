"""The distillation methods by name, and options for what programs make."""

import ast
import inspect

import keras_distill as kd

# What programs begin with instead of the defaults of the classes, which are the
# papers' for a ResNet50 on photographs. Chosen for small nets on classes held out of
# the training classes, as the README says.
TUNED = {
    "s2sd": {
        "dims": (256, 512),
        "weight": 0.0,
        "feature_weight": 200.0,
        "feature_delay": 0,
    },
}


def known():
    """What `--method` takes: `none`, and each method by its own name.

    Methods that learn from a separate teacher are left out.

    Returns:
        Dictionary from names to classes, with `None` for `none`.
    """
    found = {"none": None}
    for public in kd.methods.__all__:
        made = getattr(kd.methods, public)
        if not (inspect.isclass(made) and issubclass(made, kd.methods.Method)):
            continue
        name = inspect.signature(made).parameters.get("name")
        if name is not None and not made.needs_teacher:
            found[name.default] = made
    return found


def make(name, options):
    """The `methods=` of a `Distiller`.

    Args:
        name: One of `known()`.
        options: Dictionary of arguments of its class.

    Raises:
        ValueError: If the method is unknown, or its class takes no such argument;
            the known ones are listed.
    """
    methods = known()
    if name not in methods:
        raise ValueError(
            f"Unknown method. Expected one of {', '.join(methods)}. "
            f"Received: --method {name}"
        )
    method = methods[name]
    if method is None:
        if options:
            raise ValueError(
                f"--method {name} has no options. "
                f"Received: --method-options {', '.join(options)}"
            )
        return []
    check(options, method, f"--method {name}")
    # `dims=256` is one of several widths.
    parameters = inspect.signature(method).parameters
    options = {
        key: (value,) if _is_one_of(value, parameters[key].default) else value
        for key, value in options.items()
    }
    return [method(**with_defaults(name, options))]


def with_defaults(name, options):
    """`options` of the method called `name`, completed by `TUNED`."""
    return {**TUNED.get(name, {}), **options}


def check(options, made, flag):
    """Refuses options that a class does not take.

    Args:
        options: Dictionary of arguments.
        made: The class that is to be made with them.
        flag: String that says to the user which class that is.

    Raises:
        ValueError: If there is an unknown one; the known ones are listed.
    """
    takes = [key for key in inspect.signature(made).parameters if key != "kwargs"]
    unknown = [key for key in options if key not in takes]
    if unknown:
        raise ValueError(
            f"Unknown option of {flag}. Expected some of {', '.join(takes)}. "
            f"Received: {', '.join(unknown)}"
        )


def options(pairs):
    """`["dims=256,512", "pooling=avg"]` as a dictionary of Python values.

    Raises:
        ValueError: If one of them is not `NAME=VALUE`.
    """
    found = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if not (name.isidentifier() and text):
            raise ValueError(f"An option is NAME=VALUE. Received: {pair}")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _is_one_of(value, default):
    return isinstance(default, tuple) and not isinstance(value, tuple | list)
