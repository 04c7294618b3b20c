"""The benchmark of global knowledge times each of its parts."""

import re

import pytest

from train import knowledge_benchmark

FEW = "--height 64 --width 64 --batch 1 --boxes 2 --steps 1 --rounds 1".split()
SMALL = "--instances 40 --dim 8 --student-width 4 --teacher-width 6".split()


@pytest.mark.slow
def test_prints_each_way_against_the_teacher_that_is_asked(capsys):
    knowledge_benchmark.main([*FEW, *SMALL])
    said = capsys.readouterr().out
    assert re.search(
        r"among 40 instances of 8 numbers in both spaces: \d\.\d\d s", said
    )
    rows = re.findall(r"^(\S.*?) {2,}\d+ +\d+ +([+-]\d+%)$", said, re.MULTILINE)
    assert [title for title, _ in rows] == [
        "student alone",
        "teacher asked",
        "and global loss",
        "and local losses, 1x1 adapters",
        "and local losses, 3x3 adapters",
    ]
    assert dict(rows)["teacher asked"] == "+0%"


@pytest.mark.parametrize("name", ["instances", "student-width", "rounds"])
def test_refuses_less_than_one(name):
    with pytest.raises(ValueError, match=f"--{name} must be at least 1. Received: 0"):
        knowledge_benchmark.main([f"--{name}", "0"])
