"""Whether a scenario can be replayed, found out without replaying it.

In: a scenario file. Out: what it says, and how much work that is; or one line that says where it is
wrong.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phasewatt.errors import UserError
from simulate.cli import main
from simulate.compare import planned_replicas, require_sensible
from simulate.scenario_file import read_scenario_file, words_of
from simulate.words import Words, command_line, inputs_of_words, spelt


@dataclass(frozen=True)
class CheckedScenario:
    """What a file that is right says.

    ``trace``, ``requests`` and ``replicas`` are None where it names no trace, and leaves that to
    the command line.
    """

    file: Path
    words: Words
    trace: str | None
    requests: int | None
    replicas: int | None

    @property
    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "file": str(self.file),
            "command": command_line(self.words),
            "words": spelt(self.words),
            "trace": self.trace,
            "requests": self.requests,
            "replicas": self.replicas,
        }


def check_scenario_file(path: Path) -> CheckedScenario:
    """Read a scenario file, and everything that it names.

    Raises:
        UserError: something is wrong; the line says in which line of the file.
    """
    file = read_scenario_file(path)
    words = words_of(file)
    if words["trace"] is None:
        return CheckedScenario(path, words, None, None, None)
    try:
        inputs = inputs_of_words(words)
        require_sensible(inputs.scenario)
        replicas = planned_replicas(inputs.trace, inputs.calibration, inputs.scenario)
    except UserError as error:
        raise file.blamed(error, file.of(main)) from None
    return CheckedScenario(path, words, inputs.trace.name, len(inputs.trace), replicas)
