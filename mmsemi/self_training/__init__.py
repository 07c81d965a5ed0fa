# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Offline self-training: thresholds, stored pseudo-labels, reliability of images."""
