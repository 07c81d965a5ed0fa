# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Side-by-side measurements, not part of the wheel: see README.md."""

import sys
from pathlib import Path

# The reference steps are the tests': `from reference.unimatch import unimatch_step`.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
