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
    is_confident,
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
from .unreliable import (
    ClassPixels,
    class_centers,
    class_pixels,
    draw_members,
    draw_some,
    entropy_map,
    info_nce,
    masked_percentiles,
    mean_of_classes,
    position_of,
    reliable_cross_entropy,
    unreliable_percent,
)

__all__ = [
    "CONSISTENCY_FORMS",
    "NO_LABEL",
    "ClassPixels",
    "DirectionalContrastiveLoss",
    "DirectionalLosses",
    "DynamicWeight",
    "MutualWeight",
    "PixelCrossEntropy",
    "Pixels",
    "ProbOhemCrossEntropy",
    "StoredWeight",
    "WeightedLabels",
    "class_centers",
    "class_pixels",
    "confidence_weight",
    "confident_cross_entropy",
    "consistency_loss",
    "cosine_consistency",
    "cross_entropy",
    "directional_contrastive_loss",
    "draw_members",
    "draw_some",
    "dynamic_weight",
    "entropy_map",
    "feature_matching_loss",
    "full_precision",
    "image_confidence_cross_entropy",
    "info_nce",
    "is_confident",
    "kept_share",
    "late_linear_weight",
    "masked_bce_with_logits",
    "masked_percentiles",
    "mean_of_classes",
    "multilabel_bce",
    "mutual_weight",
    "ohem_cross_entropy",
    "one_hot_maps",
    "position_of",
    "reliable_cross_entropy",
    "rescale_batch",
    "rise_and_fall",
    "selected_image_labels",
    "sigmoid_rampup",
    "stored_weight",
    "trusted_labels",
    "unreliable_percent",
]
