# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What the fault checks share: tiny configs, and runs of the tools in forked processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from forked_runs import *  # noqa: E402, F403
