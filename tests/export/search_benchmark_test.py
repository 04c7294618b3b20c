import json

import pytest

from export import search_benchmark as program


def test_every_search_is_measured_on_the_same_queries(capsys):
    program.main("--rows 2000 --dim 16 --queries 30 --recall 0.9 --json".split())
    results = {found["search"]: found for found in json.loads(capsys.readouterr().out)}
    assert list(results) == list(program.CONTENDERS)
    there = {name: found for name, found in results.items() if "missing" not in found}
    assert {"numpy, exact", "search.tflite, two stages", "faiss, flat"} <= {*there}
    for name in ("numpy, exact", "search.tflite, two stages", "faiss, flat"):
        assert there[name]["recall"] == pytest.approx(1, abs=0.01)
    for name, found in there.items():
        assert found["recall"] > 0.8, name
        assert found["per_second"] > 0 and found["build_seconds"] >= 0
    # Four bytes a number in numpy; two in the search file, with ids and a graph.
    assert there["numpy, exact"]["megabytes"] == pytest.approx(0.128)
    assert there["search.tflite, two stages"]["megabytes"] < 0.075


def test_rows_are_of_length_one_and_the_seed_says_which():
    rows, queries, held_out = program.vectors(500, 8, 20)
    assert rows.shape == (500, 8) and queries.shape == held_out.shape == (20, 8)
    assert abs((rows**2).sum(axis=1) - 1).max() < 1e-5
    assert (program.vectors(500, 8, 20)[0] == rows).all()


def test_refuses_sizes_that_are_too_small():
    with pytest.raises(ValueError, match="--rows must be at least 1000. Received: 9"):
        program.main(["--rows", "9"])
    with pytest.raises(ValueError, match="--queries must be at least 1. Received: 0"):
        program.main(["--queries", "0"])
