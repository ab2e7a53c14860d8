from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

def scan(
    values: list[bytes | None],
    known: dict[bytes, int],
    learn: Callable[[bytes, bytes], int],
    entry: NDArray[np.int64],
    ts_ms: NDArray[np.int64],
    latency_ms: NDArray[np.float64],
    latency_s: NDArray[np.float64],
) -> list[int]: ...
