# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""From a checkpoint and images to labels: ``mmsemi.load(checkpoint).predict(image)``."""

from .loading import load
from .predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor", "load"]
