"""Classes are chosen by globs over their names."""

import fnmatch


def matching(names, globs, argument):
    """The classes that globs match.

    Args:
        names: Sequence of class names.
        globs: Iterable of globs (`*`, `?`, `[ab]`), `*` matching `/` too.
        argument: What an error calls them.

    Returns:
        Set of those of `names` that one of the globs matches.

    Raises:
        ValueError: If a glob matches none: it is misspelt.
    """
    found = set()
    for glob in globs:
        matched = {name for name in names if fnmatch.fnmatchcase(name, glob)}
        if not matched:
            some = ", ".join(repr(name) for name in sorted(names)[:3])
            raise ValueError(
                f"Each glob of `{argument}` must match a class, such as {some}. "
                f"Received: glob={glob!r}"
            )
        found |= matched
    return found
