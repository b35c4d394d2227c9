"""What the tests of pages share: two runs, written once."""

import pytest
from html_reports import HOSTILE_DIRECTORY, write_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The results of one run; tests that change them copy them first."""
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """Those of another, of another size and under another policy."""
    directory = tmp_path_factory.mktemp("runs") / HOSTILE_DIRECTORY
    return write_run(directory, replicas=3, policies=("min-edp",))
