"""The shape of a model from the ``config.json`` that its makers publish on the Hugging Face hub.

In: a JSON file. Out: a :class:`model.geometry.Geometry`, or one line that says which field is
missing, or what about the model its shape cannot tell.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from model.geometry import Geometry
from phasewatt.errors import BadTable

_UNLIKE = {
    "num_local_experts": "experts",
    "num_experts": "experts",
    "n_routed_experts": "experts",
    "moe_intermediate_size": "experts",
    "kv_lora_rank": "a compressed KV cache",
    "state_size": "a state space",
    "linear_num_value_heads": "linear attention",
    "is_encoder_decoder": "an encoder",
}
"""Fields of models whose demands a :class:`Geometry` does not describe."""

_REQUIRED = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
)


def read_geometry(path: Path, name: str | None = None) -> Geometry:
    """Read the shape of a decoder-only transformer with a gated MLP.

    ``name`` defaults to the name that the file gives the model, or that of its folder.

    Raises:
        BadTable: the file cannot be read, a field is missing or impossible, or the model is of
            another kind.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadTable(f"{path}: no such file; expected the config.json of a model") from None
    except OSError as error:
        raise BadTable(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadTable(f"{path}: not UTF-8 text; expected the config.json of a model") from None
    except json.JSONDecodeError as error:
        raise BadTable(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    if not isinstance(document, dict):
        raise BadTable(f"{path}: found no JSON object; expected the config.json of a model")
    text = document.get("text_config")
    config: Mapping[str, Any] = text if isinstance(text, dict) else document
    _require_alike(path, config)
    try:
        return _GEOMETRY.validate_python(_fields(path, config, name or _name(path, document)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "config"
        message = first["msg"].removeprefix("Value error, ")
        raise BadTable(f"{path}: field {field}: {message}") from None


def _require_alike(path: Path, config: Mapping[str, Any]) -> None:
    for field, what in _UNLIKE.items():
        if config.get(field):
            raise BadTable(
                f"{path}: field {field}: found {config[field]!r}; expected a dense decoder-only "
                f"transformer, not one with {what}"
            )
    missing = [field for field in _REQUIRED if config.get(field) is None]
    if missing:
        raise BadTable(f"{path}: field {missing[0]}: found nothing; expected a whole number")


def _fields(path: Path, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    heads = config["num_attention_heads"]
    key_value_heads = config.get("num_key_value_heads")
    head_dim = config.get("head_dim")
    if head_dim is None:
        whole = isinstance(heads, int) and isinstance(config["hidden_size"], int) and heads > 0
        if not whole or config["hidden_size"] % heads:
            raise BadTable(
                f"{path}: field head_dim: found nothing; expected it where hidden_size "
                f"{config['hidden_size']!r} is no multiple of num_attention_heads {heads!r}"
            )
        head_dim = config["hidden_size"] // heads
    # Qwen2 has biases on queries, keys and values that its config does not name.
    biased = config.get("attention_bias", config.get("model_type") in ("qwen2", "qwen2_vl"))
    return {
        **{field: config[field] for field in _REQUIRED},
        "name": name,
        "num_key_value_heads": heads if key_value_heads is None else key_value_heads,
        "head_dim": head_dim,
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
        "attention_bias": bool(biased),
    }


def _name(path: Path, document: Mapping[str, Any]) -> str:
    given = document.get("_name_or_path")
    if isinstance(given, str) and given.strip("/"):
        return given.strip("/").rsplit("/", 1)[-1].lower()
    folder = path.resolve().parent.name
    return path.stem if path.stem != "config" or not folder else folder


_GEOMETRY = TypeAdapter(Geometry)
