import re

import pytest

from train import search_benchmark


def test_prints_both_times_their_ratio_and_that_they_agree(capsys):
    search_benchmark.main("--rows 700 --dim 16 --k 3 --repeats 1".split())
    out = capsys.readouterr().out
    assert re.search(r"exact_search +\d+\.\d\d +\d+\.\d\d", out)
    assert re.search(r"faiss IndexFlat +\d+\.\d\d +\d+\.\d\d", out)
    assert re.search(r"ratio of the times \d+\.\d\d; 100\.000% of", out)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--rows 0", "--rows must be at least 1. Received: 0"),
        ("--rows 5 --k 9", "--k must be at most --rows. Received: 9, 5"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        search_benchmark.main(arguments.split())
