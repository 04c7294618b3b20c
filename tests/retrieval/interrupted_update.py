"""Updates a bundle again and again, each time stopped at another operation on files.

    python -m tests.retrieval.interrupted_update BUNDLE FOLDER ID STEP HOW...

takes ID out of copies of BUNDLE in FOLDER and prints a line of JSON for each run; the
first is of one that nothing stops. An operation is what Python's audit hooks see (a
file or folder of the copy opened, made, renamed or removed) and the exchange of the
two folders. HOW is what happens at the n-th of them, for each STEP-th n and those about
the exchange:

* `dead`: from there on nothing happens any more, as if the process had been killed,
  clean-up included;
* `full`: it fails, as on a full disk, and what comes after it does not;
* `kill`: the process, a fork, is killed by the system.
"""

import json
import os
import pathlib
import shutil
import signal
import sys

from keras_distill.device import BundleError
from keras_distill.retrieval import catalogue_part, update_bundle

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
# A tree is removed by names that are relative to its folders.
RELATIVE = {"os.remove", "os.rmdir"}
EXCHANGE = {"renameat2", "renamex_np"}


class Dead(BaseException):
    """What a process that was killed does next."""


class Watch:
    """Counts operations in a folder, `.` each and `x` for the exchange, and stops."""

    def __init__(self, folder, stop):
        self.folder, self.stop, self.seen = str(folder), stop, ""

    def __call__(self, event, args):
        exchange = event == "ctypes.dlsym" and args[1] in EXCHANGE
        if exchange or self._is_ours(event, args):
            self.seen += "x" if exchange else "."
            self.stop(len(self.seen))

    def _is_ours(self, event, args):
        if event not in EVENTS or not isinstance(args[0], str | os.PathLike):
            return False
        return event in RELATIVE or os.fspath(args[0]).startswith(self.folder)


def stop_of(how, last):
    """A function of the number of an operation that stops at the `last`."""

    def stop(number):
        if how == "dead" and 0 < last <= number:
            raise Dead
        if how == "full" and number == last:
            raise OSError(28, "No space left on device")
        if how == "kill" and number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return stop


def updated(bundle, name, watch):
    """Updates while `watch` sees every event; says what that raised."""
    global watching
    watching = watch
    try:
        update_bundle(bundle, remove=[name])
    except (Dead, OSError, BundleError) as error:
        return type(error).__name__
    finally:
        watching = None
    return None


def updated_in_a_fork(bundle, name, watch):
    """The same in a process of its own; says whether that was killed."""
    child = os.fork()
    if child == 0:
        updated(bundle, name, watch)
        os._exit(0)
    return "killed" if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else None


def run(source, folder, name, how=None, last=0):
    """One update that is stopped at operation `last`, and what is there then."""
    bundle = shutil.copytree(source, folder / "bundle")
    watch = Watch(folder, stop_of(how, last))
    update = updated_in_a_fork if how == "kill" else updated
    result = {"how": how, "last": last, "raised": update(bundle, name, watch)}
    result["left"] = sum(path != bundle for path in folder.iterdir())
    there = files(bundle)
    result["found"] = which(there)
    if result["found"] == "old" and result["left"]:  # which is in nobody's way
        updated(bundle, name, None)
        result["again"] = which(files(bundle))
    shutil.rmtree(folder)
    folder.mkdir()
    return result, watch.seen, there


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def which(there):
    """`"old"` or `"new"`, if these files are that to the byte."""
    return next((name for name, known in KNOWN.items() if known == there), None)


def once(function):
    """Computes once what takes long, and touches no file."""
    made = []

    def remembered(*args, **kwargs):
        if not made:
            made.append(function(*args, **kwargs))
        return made[0]

    return remembered


def main(source, folder, name, step, *ways):
    source, folder = pathlib.Path(source), pathlib.Path(folder)
    folder.mkdir()
    sys.addaudithook(lambda event, args: watching and watching(event, args))
    for module, slow in SLOW:
        setattr(module, slow, once(getattr(module, slow)))
    KNOWN["old"] = files(source)
    whole, seen, KNOWN["new"] = run(source, folder, name)
    print(json.dumps({**whole, "seen": seen}))
    exchange = seen.find("x") + 1
    for last in range(1, len(seen) + 1):
        if last % int(step) == 0 or abs(last - exchange) <= 2:
            for how in ways:
                print(json.dumps(run(source, folder, name, how, last)[0]))


watching, KNOWN = None, {}
SLOW = (
    (catalogue_part, "build_search_model"),
    (catalogue_part, "calibrate"),
    # The package's own name of this module is the function.
    (sys.modules[update_bundle.__module__], "task_searcher"),
)

if __name__ == "__main__":
    main(*sys.argv[1:])
