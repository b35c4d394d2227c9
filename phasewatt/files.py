"""Outputs are written whole or not at all.

In: a path and a function that writes. Out: the finished file or directory under that path, or
nothing there at all, whatever interrupts the writing.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from phasewatt.errors import Unwritable


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    Raises:
        Unwritable: the directory does not exist, or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        Path(name).chmod(0o666 & ~_umask())
    except OSError as error:
        raise Unwritable(f"{path}: cannot write here: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise Unwritable(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all.

    Raises:
        Unwritable: the directory does not exist, or cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield a fresh temporary directory; move what it holds into ``path`` when the block succeeds.

    The temporary directory is made beside ``path`` when the block is entered, so an unwritable
    place is found before any work is done. Files of the same name in an existing ``path`` are
    replaced one by one; other files there stay.

    Raises:
        Unwritable: ``path`` is a file, or its parent cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise Unwritable(f"{path}: is a file; expected a directory to write results into")
        path.parent.mkdir(parents=True, exist_ok=True)
        place = path if path.is_dir() else path.parent
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=place))
    except OSError as error:
        raise Unwritable(f"{path}: cannot write here: {error.strerror}") from error
    try:
        yield temporary
        path.mkdir(exist_ok=True)
        for item in sorted(temporary.iterdir()):
            item.replace(path / item.name)
    except OSError as error:
        raise Unwritable(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
