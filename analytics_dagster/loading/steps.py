"""How many windows are read and committed at once."""

from __future__ import annotations

ROWS_PER_COMMIT = 500_000
WINDOWS_PER_COMMIT = 100


def step_size(windows: int, rows: int) -> int:
    """How many windows come next: as many as stay within both bounds.

    Tenfold at most, so that a busy stretch after an empty one does not come as one lump.

    Args:
        windows: How many there were in the step before. The first step has one, which shows what to expect.
        rows: Their rows.
    """
    rows_per_window = max(1, rows // windows)
    return max(1, min(WINDOWS_PER_COMMIT, 10 * windows, ROWS_PER_COMMIT // rows_per_window))
