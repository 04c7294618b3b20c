import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from train.comparison import workers
from train.comparison.record import BROKEN

NAMES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def act(job):
    """What the processes run: a job says what to do."""
    if job == "raise":
        raise ValueError("a bad\nday")
    if job == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "sleep":
        os.write(1, b"asleep\n")  # a line at once: two processes write them
        time.sleep(600)
    return {
        "process": os.getpid(),
        "threads": [os.environ[name] for name in NAMES],
        "heavy": "tensorflow" in sys.modules,
    }


def test_jobs_are_shared_out_among_processes_of_one_thread(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    jobs = list(range(6))
    found = dict(workers.execute(jobs, 2, act))
    assert sorted(found) == jobs
    processes = {outcome["process"] for outcome in found.values()}
    assert 1 <= len(processes) <= 2 and os.getpid() not in processes
    assert all(outcome["threads"] == ["1"] * 3 for outcome in found.values())
    assert not any(outcome["heavy"] for outcome in found.values()), "not yet started"
    assert not any(name in os.environ for name in NAMES), "this one keeps its threads"


def test_what_a_job_raises_is_its_outcome_and_the_others_go_on(capfd):
    found = dict(workers.execute(["raise", "a", "b"], 2, act))
    assert found["raise"] == {"status": BROKEN, "reason": "ValueError: a bad day"}
    assert "process" in found["a"] and "process" in found["b"]
    assert "Traceback" in capfd.readouterr().err


def test_a_process_that_is_killed_is_replaced(capfd):
    found = dict(workers.execute(["die", "a", "die again", "b", "c"], 2, act))
    assert found["die"] == {
        "status": BROKEN,
        "reason": "its process ended with signal 9",
    }
    assert all("process" in found[job] for job in ("a", "b", "c"))


WORK = workers._work


def work_but_for_the_first(connection, function):
    """A process that is killed with a job in its pipe, unless one was before."""
    try:
        pathlib.Path(os.environ["KILLED_ONCE"]).touch(exist_ok=False)
    except FileExistsError:
        WORK(connection, function)
    else:
        connection.poll(60)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_before_it_reads_its_job_breaks_that_run_alone(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("KILLED_ONCE", str(tmp_path / "killed"))
    monkeypatch.setattr(workers, "_work", work_but_for_the_first)
    found = dict(workers.execute(["a", "b", "c", "d"], 2, act))
    reasons = [outcome["reason"] for outcome in found.values() if "reason" in outcome]
    assert reasons == ["its process ended with signal 9"]
    assert len(found) == 4 and sum("process" in one for one in found.values()) == 3


def test_one_job_at_a_time_is_run_in_this_process(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "3")
    ((job, outcome),) = workers.execute(["a"], 1, act)
    assert (job, outcome["process"]) == ("a", os.getpid())
    assert outcome["threads"] == ["3"] * 3


INTERRUPTED = """
import contextlib, signal
from tests.train.compare_workers_test import act
from train.comparison import workers
signal.signal(signal.SIGINT, signal.default_int_handler)
with contextlib.closing(workers.execute(["sleep", "sleep", "sleep"], 2, act)) as found:
    try:
        list(found)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="has no process groups to interrupt")
def test_ctrl_c_ends_what_is_running():
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert [program.stdout.readline() for _ in range(2)] == ["asleep\n"] * 2
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does, to all of them
    said, complaint = program.communicate(timeout=60)
    assert program.returncode == 0 and said == "interrupted\n"
    assert "Traceback" not in complaint
    for _ in range(100):  # Python's own helper sees the end a moment later.
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process was left behind")
