"""Mistakes that a user can mend.

A command prints the message of a :class:`UserError` as one line and exits with code 2. Every other
exception is a bug and may show its traceback. A message says where (file, line, field), what was
found and what was expected.
"""


class UserError(Exception):
    """Something the user can mend; ``str(error)`` is one line that says how.

    What came from a file may hold anything: a character that does not print shows as its escape.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class BadTrace(UserError):
    """A trace file or a trace option that cannot be used as given."""


class BadTable(UserError):
    """A table of measurements that cannot be fitted as given."""


class BadCalibration(UserError):
    """A calibration file that is malformed, of a newer schema, or lacks what is asked of it."""


class BadPredictor(UserError):
    """A difficulty predictor, its features or its training table that cannot be used as given."""


class OutOfRange(UserError):
    """A clock, batch or length outside the range that the calibration covers."""


class BadPolicy(UserError):
    """A policy that is unknown, malformed or cannot be met by the calibration."""


class BadOption(UserError):
    """Command-line options that contradict each other or hold an unusable value."""


class UnsupportedGpu(UserError):
    """A GPU, driver or library that cannot do what was asked, with what to install or pass."""


class Unwritable(UserError):
    """An output path that cannot be written."""


class BadResult(UserError):
    """A directory that is no result, or a result that is incomplete or of another schema."""
