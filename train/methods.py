"""The distillation methods by the names that programs give them."""

import ast
import inspect

import keras_distill as kd

# What `--method` takes, and the class in `kd.methods` that it makes.
METHODS = {
    "none": None,
    "s2sd": "S2SD",
}


def make(name, options):
    """The `methods=` of a `Distiller`.

    Args:
        name: One of `METHODS`.
        options: Dictionary of arguments of its class.

    Raises:
        ValueError: If the class takes no such argument; the known ones are listed.
    """
    if METHODS[name] is None:
        if options:
            raise ValueError(
                f"--method {name} has no options. "
                f"Received: --method-options {', '.join(options)}"
            )
        return []
    method = getattr(kd.methods, METHODS[name])
    check(options, method, f"--method {name}")
    # `dims=256` is one of several widths.
    parameters = inspect.signature(method).parameters
    options = {
        key: (value,) if _is_one_of(value, parameters[key].default) else value
        for key, value in options.items()
    }
    return [method(**options)]


def check(options, made, flag):
    """Refuses options that a class does not take.

    Args:
        options: Dictionary of arguments.
        made: The class that is to be made with them.
        flag: String that says to the user which class that is.

    Raises:
        ValueError: If there is an unknown one; the known ones are listed.
    """
    known = [key for key in inspect.signature(made).parameters if key != "kwargs"]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ValueError(
            f"Unknown option of {flag}. Expected some of {', '.join(known)}. "
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
