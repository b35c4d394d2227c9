"""The same inputs give the same bytes, in another process and under another hash seed too."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from simulate.compare import compare
from simulate.scenario import Scenario

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import tiny
from simulate.compare import compare
from simulate.results import write_results
from simulate.scenario import Scenario
trace = tiny.random_trace(np.random.default_rng(5), 300, 10.0)
scenario = Scenario(("phase-aware", "min-edp", "power-cap:230"), replicas=2, draws=5, seed=7)
write_results(compare(trace, tiny.uncertain(), scenario), Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    places = []
    for hash_seed in ("1", "4242"):
        place = tmp_path_factory.mktemp("run")
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(Path(tiny.__file__).parent),
        }
        subprocess.run([sys.executable, "-c", SCRIPT, str(place)], check=True, env=environment)
        places.append(place)
    return places


@pytest.mark.parametrize(
    "name", ["summary.json", "requests.parquet", "power.parquet", "curves.json", "report.html"]
)
def test_the_same_bytes_in_every_process(two_runs, name):
    one, other = ((place / name).read_bytes() for place in two_runs)
    assert one == other


def test_another_seed_moves_the_intervals_and_nothing_else(tmp_path):
    trace = tiny.random_trace(np.random.default_rng(5), 50, 10.0)

    def saving(seed):
        scenario = Scenario(("phase-aware",), replicas=2, draws=4, seed=seed)
        return compare(trace, tiny.uncertain(), scenario).results[1].saving

    assert saving(1) == saving(1)
    assert saving(1).value == saving(2).value
    assert saving(1).low != saving(2).low
