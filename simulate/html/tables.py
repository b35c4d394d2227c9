"""Tables of results, a part at a time.

In: a Parquet file whose rows name their policy. Out: arrays, of one policy after another.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.work import Array

_ROWS_AT_ONCE = 1 << 18


def parts_of(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[Array]]]:
    """Yield a policy and the ``columns`` of some of its rows, in the order of the file.

    A null is NaN. Memory does not grow with the file.
    """
    with pq.ParquetFile(path, read_dictionary=["policy"]) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["policy", *columns]):
            named: pa.DictionaryArray = batch.column(0)
            policy_of = np.asarray(named.indices)
            arrays = [
                batch.column(i + 1).to_numpy(zero_copy_only=False) for i in range(len(columns))
            ]
            for index in np.unique(policy_of).tolist():
                mine = policy_of == index
                policy = named.dictionary[index].as_py()
                yield policy, arrays if mine.all() else [array[mine] for array in arrays]
