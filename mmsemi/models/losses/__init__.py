# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Losses: pure functions on tensors and the registered modules around them."""

from __future__ import annotations

from .adversarial import (
    feature_matching_loss,
    full_precision,
    masked_bce_with_logits,
    one_hot_maps,
    rescale_batch,
    selected_image_labels,
    trusted_labels,
)
from .consistency import CONSISTENCY_FORMS, confidence_weight, consistency_loss
from .contrastive import (
    NO_LABEL,
    DirectionalContrastiveLoss,
    DirectionalLosses,
    Pixels,
    directional_contrastive_loss,
)
from .cross_entropy import (
    PixelCrossEntropy,
    ProbOhemCrossEntropy,
    confident_cross_entropy,
    cross_entropy,
    image_confidence_cross_entropy,
    kept_share,
    ohem_cross_entropy,
)
from .image_level import cosine_consistency, late_linear_weight, multilabel_bce
from .rampup import rise_and_fall, sigmoid_rampup
from .self_training import (
    DynamicWeight,
    MutualWeight,
    StoredWeight,
    WeightedLabels,
    dynamic_weight,
    mutual_weight,
    stored_weight,
)

__all__ = [
    "CONSISTENCY_FORMS",
    "NO_LABEL",
    "DirectionalContrastiveLoss",
    "DirectionalLosses",
    "DynamicWeight",
    "MutualWeight",
    "PixelCrossEntropy",
    "Pixels",
    "ProbOhemCrossEntropy",
    "StoredWeight",
    "WeightedLabels",
    "confidence_weight",
    "confident_cross_entropy",
    "consistency_loss",
    "cosine_consistency",
    "cross_entropy",
    "directional_contrastive_loss",
    "dynamic_weight",
    "feature_matching_loss",
    "full_precision",
    "image_confidence_cross_entropy",
    "kept_share",
    "late_linear_weight",
    "masked_bce_with_logits",
    "multilabel_bce",
    "mutual_weight",
    "ohem_cross_entropy",
    "one_hot_maps",
    "rescale_batch",
    "rise_and_fall",
    "selected_image_labels",
    "sigmoid_rampup",
    "stored_weight",
    "trusted_labels",
]
