# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Seeds of independent random streams."""

from __future__ import annotations

import numpy as np


def derive_seed(seed: int, *keys: int) -> int:
    """A 63-bit seed as a pure function of ``seed`` and further non-negative integers."""
    words = np.random.SeedSequence([seed, *keys]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
