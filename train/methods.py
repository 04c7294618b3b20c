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
    # docs/results/omniglot_self_8/tuning.md: the authors' 1000 stops a conv4 from
    # learning at all.
    "obd_sd": {"weight": 10.0, "omega": 0.5, "diffusion_tau": 0.05},
}


def known(teacher=False):
    """What `--method` takes: `none`, and each method by its own name.

    Args:
        teacher: Whether there is a teacher. Without, the methods that learn from one
            are left out.

    Returns:
        Dictionary from names to classes, with `None` for `none`.
    """
    found = {"none": None}
    for public in kd.methods.__all__:
        made = getattr(kd.methods, public)
        if not (inspect.isclass(made) and issubclass(made, kd.methods.Method)):
            continue
        parameters = inspect.signature(made).parameters
        named = "name" in parameters and "distillation_loss" not in parameters
        if named and (teacher or not made.needs_teacher):
            # The name of PAD's instances is made of that of its term.
            found[parameters["name"].default or made.__name__.lower()] = made
    return found


def make(name, options, teacher=False):
    """The `methods=` of a `Distiller`.

    Args:
        name: One of `known(teacher)`.
        options: Dictionary of arguments of its class. `"term"`, of PAD, is the name of
            a method, and `"term.weight"` an argument of that.
        teacher: Whether there is a teacher.

    Raises:
        ValueError: If the method is unknown, needs a teacher that is not there, or its
            class takes no such argument; the known ones are listed.
    """
    methods = known(teacher)
    if name not in methods and name in known(teacher=True):
        raise ValueError(
            f"--method {name} learns from a teacher: name one. Received: no --teacher"
        )
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
    return [_made(method, with_defaults(name, options), f"--method {name}", teacher)]


def _made(method, options, flag, teacher):
    """An instance of a method's class, from options as `make` takes them."""
    inner = {key: value for key, value in options.items() if key.startswith("term.")}
    own = {key: value for key, value in options.items() if key not in inner}
    check(own, method, flag)
    parameters = inspect.signature(method).parameters
    if "term" in parameters:
        own["term"] = _term(
            own.get("term"), {key[5:]: inner[key] for key in inner}, flag, teacher
        )
    elif inner:
        raise ValueError(f"{flag} wraps no other method. Received: {', '.join(inner)}")
    # `dims=256` is one of several widths.
    own = {
        key: (value,) if _is_one_of(value, parameters[key].default) else value
        for key, value in own.items()
    }
    return method(**own)


def _term(name, options, flag, teacher):
    terms = {
        key: made
        for key, made in known(teacher).items()
        if made is not None and issubclass(made, kd.methods.TeacherTerm)
    }
    if name not in terms:
        raise ValueError(
            f"{flag} wraps another method: --method-options term=NAME, one of "
            f"{', '.join(terms)}. Received: term={name}"
        )
    return _made(terms[name], options, f"term={name}", teacher)


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
        if not (all(part.isidentifier() for part in name.split(".")) and text):
            raise ValueError(f"An option is NAME=VALUE. Received: {pair}")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _is_one_of(value, default):
    return isinstance(default, tuple) and not isinstance(value, tuple | list)
