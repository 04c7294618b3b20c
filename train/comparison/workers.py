"""Runs that go on at once, each in a process of its own with a core of its own."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import traceback

from train.comparison.record import BROKEN

# TensorFlow reads these when it starts. Two runs that share cores by threads of both
# are slower than two with one thread each. A GPU is shared as far as it is needed.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


def execute(jobs, count, function):
    """Yields `(job, outcome)` as the jobs end, in any order.

    Closing the generator ends what is still running.

    Args:
        jobs: List.
        count: How many go on at once. One runs in this process, with all its threads.
        function: Called with a job, returns its outcome, a dictionary. It has to be
            importable by name. What it raises becomes an outcome as well, with
            `status`, `reason`, and the traceback on standard error.
    """
    if count == 1:
        yield from ((job, _attempt(function, job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not fork.
    waiting, working = list(reversed(jobs)), {}
    try:
        while waiting or working:
            while waiting and len(working) < count:
                job = waiting.pop()
                process, connection = _start(context, function)
                with contextlib.suppress(ConnectionError):
                    connection.send(job)  # or its end is seen next
                working[connection] = process, job
            for connection in multiprocessing.connection.wait(list(working)):
                process, job = working[connection]
                try:
                    outcome = connection.recv()
                except (EOFError, ConnectionError):  # the latter with a job unread
                    del working[connection]
                    process.join()
                    outcome = _lost(process)
                else:
                    if waiting:
                        working[connection] = process, waiting[-1]
                        with contextlib.suppress(ConnectionError):
                            connection.send(waiting.pop())
                    else:
                        del working[connection]
                        connection.close()  # which ends the process
                yield job, outcome
    finally:
        for process, _ in working.values():
            process.terminate()
        for process, _ in working.values():
            process.join()


def _start(context, function):
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function), daemon=True)
    with _environment(ONE_THREAD):
        process.start()
    theirs.close()  # so that its end is seen when the process ends
    return process, ours


def _work(connection, function):
    # Ctrl-C reaches the whole group; the process that writes decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send(_attempt(function, connection.recv()))


def _attempt(function, job):
    try:
        return function(job)
    except Exception as error:
        traceback.print_exc()
        said = " ".join(str(error).split())
        return {"status": BROKEN, "reason": f"{type(error).__name__}: {said}"[:500]}


def _lost(process):
    code = process.exitcode
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return {"status": BROKEN, "reason": f"its process ended with {how}"}


@contextlib.contextmanager
def _environment(values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
