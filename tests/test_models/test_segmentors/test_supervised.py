# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The baseline does what every method must do."""

from __future__ import annotations

from method_tester import MethodTester


class TestSupervised(MethodTester):
    name = "supervised"
    model = dict(type="Supervised")
    golden_std = 0.01  # mmseg's own
