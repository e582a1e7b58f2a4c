"""Memory for values that cannot be viewed, from Arrow's pool.

The pool keeps what is released for the next block; the allocator behind NumPy gives large pieces back to the
system each time, and getting them again costs as much as reading the bytes from a cache does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def empty(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of ``count`` arbitrary values."""
    if count == 0:
        return np.empty(0, dtype)
    return np.frombuffer(pa.allocate_buffer(count * dtype.itemsize), dtype, count)
