"""What a model's name means: a built-in geometry, or the one that a ``config.json`` tells.

In: a name, a folder or file, or a name on the Hugging Face hub. Out: a :class:`Geometry`. Only a
name on the Hugging Face hub, owner/name, needs transformers.
"""

from pathlib import Path

from calibrate.hf_config import read_geometry
from model.geometry import GEOMETRIES, Geometry
from phasewatt.errors import BadOption, UnsupportedGpu


def geometry_of(name_or_path: str) -> Geometry:
    """Return the geometry of a built-in model, of a folder or ``config.json``, or of a hub name.

    Raises:
        BadOption: there is no such model.
        BadTable: its ``config.json`` is malformed, or of another kind of model.
        UnsupportedGpu: it may be on the hub, and transformers is not installed.
    """
    if name_or_path in GEOMETRIES:
        return GEOMETRIES[name_or_path]
    path = Path(name_or_path)
    if path.is_dir():
        return read_geometry(path / "config.json")
    if path.is_file():
        return read_geometry(path)
    if name_or_path.count("/") != 1 or name_or_path.startswith((".", "/")):
        raise BadOption(
            f"model {name_or_path}: is not built in and no such folder is here; expected "
            f"{', '.join(GEOMETRIES)}, a folder with a config.json, or owner/name on the hub"
        )
    return read_geometry(_fetched(name_or_path), name_or_path.partition("/")[2])


def _fetched(name: str) -> Path:
    """Return where the ``config.json`` of the model ``name`` on the hub is kept on this machine."""
    try:
        from transformers.utils import cached_file
    except ImportError:
        raise UnsupportedGpu(
            f"model {name}: no such folder is here; to look on the Hugging Face hub, pip install "
            "'phasewatt[gpu]'"
        ) from None
    try:
        return Path(cached_file(name, "config.json"))
    except OSError as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadOption(
            f"model {name}: no such folder is here, and the Hugging Face hub gives none: {reason}"
        ) from None
