"""Fields of a recipe, read strictly: what is misspelt or out of range is refused."""

import json
import math
import pathlib
import re


def read(path, parse):
    """What `parse` makes of the JSON object in a file.

    Args:
        path: Of the file.
        parse: Callable from a dictionary; raises ValueError.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a recipe; the message says what was expected.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe here. Received: {path}")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
        return parse(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _object(pairs):
    """A JSON object in which no key comes twice: the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"Keys must differ. Received twice: {', '.join(twice)}")
    return found


def known(raw, where, required, optional=()):
    """Refuses what is no object, lacks a required field or has an unknown one.

    This and all below take `raw`, a value as JSON gives it, and `where`, what the
    message calls it; they raise ValueError, and those that return something return the
    value.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"`{where}` must be an object. Received: {where}={raw!r}")
    known = sorted({*required, *optional})
    unknown = [name for name in raw if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown field of `{where}`. Expected some of {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    missing = sorted(name for name in required if name not in raw)
    if missing:
        raise ValueError(f"`{where}` lacks {', '.join(missing)}. Received: {[*raw]}")


def name(raw):
    """What names a folder of results."""
    if not re.fullmatch(r"[\w-]+", text(raw, "name")):
        raise ValueError(
            "`name` names a folder: letters, digits, _ and - are allowed. "
            f"Received: name={raw!r}"
        )
    return raw


def method_name(raw):
    """What a row of a table begins with; the row of the teacher is another."""
    if not re.fullmatch(r"[\w(][\w ()+.=-]*", raw) or raw == "teacher":
        raise ValueError(
            "A method is named by a word or two of letters, digits and ()+.=- (other "
            f"signs mean something in the table), and not 'teacher'. Received: {raw!r}"
        )
    return raw


def text(raw, where):
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"`{where}` must be a string. Received: {where}={raw!r}")
    return raw


def count(raw, where, least=1):
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < least:
        raise ValueError(
            f"`{where}` must be an integer, {least} or more. Received: {where}={raw!r}"
        )
    return raw


def options(raw, where):
    if not isinstance(raw, dict):
        raise ValueError(
            f"`{where}` must be an object of options. Received: {where}={raw!r}"
        )
    return raw


def share(raw, where):
    number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if not number or not 0 < raw < 1:
        raise ValueError(
            f"`{where}` must be a number between 0 and 1. Received: {where}={raw!r}"
        )
    return raw


def globs(raw, where):
    if raw is None:
        return None
    if not isinstance(raw, list) or not raw or not all(isinstance(g, str) for g in raw):
        raise ValueError(
            f"`{where}` must be a list of globs over class names. "
            f"Received: {where}={raw!r}"
        )
    return raw


def seeds(raw, where):
    if not isinstance(raw, list) or not raw or len({*map(repr, raw)}) < len(raw):
        raise ValueError(
            f"`{where}` must be a list of different integers. Received: {where}={raw!r}"
        )
    return [count(seed, where, least=0) for seed in raw]


def optimizer(raw, where, partial=True):
    names = {"learning_rate", "weight_decay"}
    known(raw, where, set() if partial else names, names)
    for name, value in raw.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        least = 0 if name == "weight_decay" else math.ulp(0.0)
        if not number or not least <= value < math.inf:
            kind = "0 or more" if name == "weight_decay" else "positive"
            raise ValueError(
                f"`{where}.{name}` must be a number, {kind}. Received: {name}={value!r}"
            )
    return {name: float(value) for name, value in raw.items()}


def budget(raw, where, needed=True):
    given = [name for name in ("steps", "epochs") if name in raw]
    if len(given) > 1 or (needed and not given):
        raise ValueError(
            f"`{where}` must have either steps or epochs. "
            f"Received: {' and '.join(given) or 'neither'}"
        )
    return {name: count(raw[name], f"{where}.{name}") for name in given} or None
