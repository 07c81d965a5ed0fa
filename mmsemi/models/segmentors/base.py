# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The frame of every semi-supervised method around an unchanged mmseg segmentor.

Decisions:

- One batch, one ``forward(mode='loss')``, one dict of losses, one backward: stock train step, DDP,
  AMP and accumulation work unchanged.
- To mmseg's tools the model looks like the network that predicts (``predict_on``): it proxies
  ``decode_head``, ``backbone``, ``num_classes``, ``out_channels``, ``align_corners``, ``test_cfg``.
- A plain mmseg checkpoint, or one of another method, loads into every network; a checkpoint that
  matches nothing is an error instead of silent random weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ...utils import check_keys
from ...utils.pretrained import missing_weights_message
from ..losses import sigmoid_rampup
from ..preprocessor import merge_preprocessors
from .checkpoints import spread_checkpoint
from .network import Outputs, check_per_pixel_logits, forward_network, supervised_losses

Inputs = dict[str, Any]
Samples = dict[str, list[SegDataSample]]
Losses = dict[str, Tensor]


class SemiSegmentor(BaseSegmentor):
    """Base of all methods: networks, checked settings, the four-step loss template, prediction.

    Args:
        segmentor: Config of any mmseg segmentor with per-pixel logits, unchanged.
        data_preprocessor: Config of a :class:`SemiSegDataPreProcessor`; without a ``type`` it is
            merged into the one inside ``segmentor``, e.g. ``dict(mix=dict(type='CutMix'))``.
        semi_train_cfg: Settings of the method, see :attr:`train_cfg_defaults`.
        semi_test_cfg: ``predict_on``, one of :attr:`network_names`.
        pretrained: Unused; mmseg's ``init_model`` sets it.
        train_cfg: Unused; mmseg's ``init_model`` sets it.
        test_cfg: Replaces the segmentor's own ``test_cfg``.
        init_cfg: Initialisation on top of the segmentor's own.

    Raises:
        ValueError: A key of ``semi_train_cfg`` or ``semi_test_cfg`` is unknown, or ``predict_on``
            names no network.
        TypeError: The segmentor gives no per-pixel logits.
    """

    #: Every key of ``semi_train_cfg`` with its default; methods override it.
    train_cfg_defaults: dict[str, Any] = {}
    #: Every key of ``semi_test_cfg`` with its default; ``predict_on=None`` is the teacher where
    #: there is one, else the student or the first branch.
    test_cfg_defaults: dict[str, Any] = {"predict_on": None}
    #: Number of independently initialised networks: 1 is ``student``, more are ``branches``.
    num_branches = 1
    #: Whether the method keeps an EMA ``teacher`` of the student.
    has_teacher = False
    #: Whether the method takes more than one student view of each unlabelled image.
    takes_several_views = False
    #: Set by MeanTeacherHook(when='mid'): call it where the teacher shall be averaged.
    update_teacher: Callable[[], None] | None = None
    #: Set by PseudoLabelVisHook for the iterations that it shows: ``loss`` then fills
    #: :attr:`visuals`, see :func:`~mmsemi.models.segmentors.network.pseudo_label_visuals`.
    keep_visuals = False
    visuals: dict[str, Tensor] | None = None

    def __init__(
        self,
        segmentor: dict,
        data_preprocessor: dict | None = None,
        semi_train_cfg: dict | None = None,
        semi_test_cfg: dict | None = None,
        pretrained: str | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # mmseg reads settings as attributes, which plain dictionaries do not have.
        segmentor = ConfigDict(copy.deepcopy(segmentor))
        check_per_pixel_logits(segmentor)
        data_preprocessor = merge_preprocessors(
            segmentor.pop("data_preprocessor", None), data_preprocessor
        )
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        name = type(self).__name__
        self.semi_train_cfg = check_keys(
            semi_train_cfg, self.train_cfg_defaults, f"{name}.semi_train_cfg"
        )
        self.semi_test_cfg = check_keys(
            semi_test_cfg, self.test_cfg_defaults, f"{name}.semi_test_cfg"
        )
        if self.num_views > 1 and not self.takes_several_views:
            raise ValueError(
                f"{name} takes one student view of each unlabelled image, "
                f"data_preprocessor.num_student_views is {self.num_views}"
            )
        if test_cfg is not None:
            segmentor.test_cfg = test_cfg
        if self.num_branches == 1:
            self.student = MODELS.build(segmentor)
        else:
            self.branches = nn.ModuleList(MODELS.build(segmentor) for _ in range(self.num_branches))
        if self.has_teacher:
            self.teacher = copy.deepcopy(self.student).requires_grad_(False)
            self.teacher_hook_attached = False
            self.teacher_loaded = False
        if self.semi_test_cfg["predict_on"] is None:
            self.semi_test_cfg["predict_on"] = self._default_network
        if self.semi_test_cfg["predict_on"] not in self.network_names:
            raise ValueError(
                f"{name}.semi_test_cfg.predict_on={self.semi_test_cfg['predict_on']!r} is none of "
                f"{self.network_names}"
            )
        self._register_load_state_dict_pre_hook(self._adapt_state_dict)

    def _check_choice(self, key: str, allowed: Collection[str]) -> None:
        """Refuse a value of ``semi_train_cfg`` that names no variant."""
        value = self.semi_train_cfg[key]
        if value not in allowed:
            raise ValueError(
                f"{type(self).__name__}.semi_train_cfg.{key}={value!r} is none of "
                f"{', '.join(map(repr, allowed))}"
            )

    # ---------------------------------------------------------------- networks

    @property
    def num_views(self) -> int:
        """Student views of each unlabelled image."""
        return getattr(self.data_preprocessor, "num_student_views", 1)

    def networks(self) -> list[nn.Module]:
        """The networks that are trained."""
        return [self.student] if self.num_branches == 1 else list(self.branches)

    @property
    def network_names(self) -> list[str | int]:
        """Legal values of ``predict_on``."""
        if self.num_branches > 1:
            return [*range(self.num_branches), "ensemble"]
        return ["student", "teacher"] if self.has_teacher else ["student"]

    @property
    def _default_network(self) -> str | int:
        return "teacher" if self.has_teacher else self.network_names[0]

    def network(self, name: str | int | None = None) -> nn.Module:
        """A network by name; ``None`` is the one that predicts (the first one of an ensemble)."""
        name = self.semi_test_cfg["predict_on"] if name is None else name
        if self.num_branches > 1:
            return self.branches[0 if name == "ensemble" else name]
        return getattr(self, name)

    @contextmanager
    def predicting_on(self, name: str | int) -> Iterator[None]:
        """Predict with another network for a while, e.g. to validate student and teacher."""
        if name not in self.network_names:
            raise ValueError(f"predict_on={name!r} is none of {self.network_names}")
        before = self.semi_test_cfg["predict_on"]
        self.semi_test_cfg["predict_on"] = name
        try:
            yield
        finally:
            self.semi_test_cfg["predict_on"] = before

    @property
    def backbone(self) -> nn.Module:
        return self.network().backbone

    @property
    def decode_head(self) -> nn.Module:
        return self.network().decode_head

    @property
    def num_classes(self) -> int:
        return self.network().num_classes

    @property
    def out_channels(self) -> int:
        return self.network().out_channels

    @property
    def align_corners(self) -> bool:
        return self.network().align_corners

    @property
    def test_cfg(self) -> Any:
        return self.network().test_cfg

    @property
    def ignore_index(self) -> int:
        """Label value without a class, that of the decode head."""
        head = self.network().decode_head
        return (head[-1] if isinstance(head, nn.ModuleList) else head).ignore_index

    # ---------------------------------------------------------------- teacher

    def required_hooks(self) -> list[dict]:
        """Configs of the hooks without which the method would be another one."""
        return []

    def sync_teacher(self) -> None:
        """Make the teacher an exact copy of the student, buffers included."""
        self.teacher.load_state_dict(self.student.state_dict())

    def train(self, mode: bool = True) -> SemiSegmentor:
        """Train mode for everything but the teacher, whose statistics come from its hook alone."""
        super().train(mode)
        if self.has_teacher and self.semi_train_cfg.get("teacher_mode", "eval") == "eval":
            self.teacher.eval()
        return self

    # ---------------------------------------------------------------- weights

    def init_weights(self) -> None:
        """Initialise as mmseg does; an unreachable weight file says where to put it.

        Raises:
            FileNotFoundError: Pre-trained weights are neither on disk nor downloadable.
        """
        try:
            super().init_weights()
        except (URLError, ConnectionError, TimeoutError, FileNotFoundError) as error:
            raise FileNotFoundError(missing_weights_message(self.network(), error)) from error
        if self.has_teacher:
            self.sync_teacher()

    def _own_prefixes(self) -> list[str]:
        if self.num_branches > 1:
            return [f"branches.{i}." for i in range(self.num_branches)]
        return ["student.", "teacher."] if self.has_teacher else ["student."]

    def _adapt_state_dict(self, state_dict: dict, prefix: str, *_: Any) -> None:
        """Spread a plain checkpoint, or one of another method, over every network."""
        present = spread_checkpoint(
            state_dict, prefix, self._own_prefixes(), self.network(), type(self).__name__
        )
        if self.has_teacher:
            self.teacher_loaded = "teacher." in present

    # ---------------------------------------------------------------- training

    def loss(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """The template: supervised loss, pseudo-labels, their projection, unsupervised loss.

        Args:
            inputs: Branches of :class:`SemiSegDataPreProcessor`.
            data_samples: Samples of each branch.

        Returns:
            Losses (keys with ``loss``) and 0-d statistics (keys without).
        """
        self._check_training_inputs(inputs)
        losses = self.loss_by_gt(inputs, data_samples)
        pseudo_labels = self.get_pseudo_labels(inputs, data_samples)
        targets = self.project_pseudo_labels(pseudo_labels, inputs)
        losses.update(self.loss_by_pseudo(inputs, targets))
        return losses

    def _check_training_inputs(self, inputs: Inputs) -> None:
        if not isinstance(inputs, dict) or "sup" not in inputs:
            raise TypeError(
                f"{type(self).__name__} trains on branches with labelled images: use "
                "data_preprocessor=dict(type='SemiSegDataPreProcessor') and a SemiDataset with "
                "sampler.num_per_source.labeled of at least 1"
            )
        if self.has_teacher and not self.teacher_hook_attached:
            raise RuntimeError(
                f"{type(self).__name__} has a teacher but no MeanTeacherHook updates it: use "
                "train_cfg=dict(type='SemiIterBasedTrainLoop'), which adds the hook, or add "
                "custom_hooks=[dict(type='MeanTeacherHook')]"
            )

    @staticmethod
    def iteration() -> int:
        """Training iteration from 0, as the runner counts it (also after a resume)."""
        return MessageHub.get_current_instance().runtime_info.get("iter", 0)

    def _unlabeled(self, inputs: Inputs) -> Tensor:
        if "unsup_teacher" not in inputs:
            raise ValueError(
                f"{type(self).__name__} got no unlabelled image: give the dataset an unlabelled "
                "source and set sampler.num_per_source.unlabeled to at least 1"
            )
        return inputs["unsup_teacher"]

    def supervise(
        self,
        name: str,
        net: nn.Module,
        outputs: Outputs,
        samples: list[SegDataSample],
        weight: float = 1.0,
    ) -> Losses:
        """A network's own losses on labelled images, times ``weight``, with a prefix."""
        losses = supervised_losses(net, outputs, samples)
        if weight != 1:
            losses = {key: v * weight if "loss" in key else v for key, v in losses.items()}
        return add_prefix(losses, name)

    def rampup(self) -> float:
        """Factor of the unsupervised weight, exp(-5 (1 - t/T)^2) with T = ``rampup_iters``."""
        return sigmoid_rampup(self.iteration(), self.semi_train_cfg["rampup_iters"])

    def loss_by_gt(self, inputs: Inputs, data_samples: Samples) -> Losses:
        """Step 1: the student's own losses on the labelled images."""
        outputs = forward_network(self.student, inputs["sup"])
        return self.supervise("sup", self.student, outputs, data_samples["sup"])

    def get_pseudo_labels(self, inputs: Inputs, data_samples: Samples) -> Any:
        """Step 2: what the method believes about the unlabelled images."""
        return None

    def project_pseudo_labels(self, pseudo_labels: Any, inputs: Inputs) -> Any:
        """Step 3: pseudo-labels in the geometry of the student's view (mixing)."""
        return pseudo_labels

    def loss_by_pseudo(self, inputs: Inputs, targets: Any) -> Losses:
        """Step 4: the unsupervised loss."""
        return {}

    # ---------------------------------------------------------------- prediction

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of the network that predicts."""
        return self.network().extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (N, C, H, W) of the network that predicts."""
        return self._ensemble(lambda net: net.encode_decode(inputs, batch_img_metas))

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        return self._ensemble(lambda net: net._forward(inputs, data_samples))

    def _ensemble(self, run: Any) -> Tensor:
        if self.semi_test_cfg["predict_on"] != "ensemble":
            return run(self.network())
        return mean_logits([run(net) for net in self.networks()])

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment images with the network of ``predict_on``, by its own ``test_cfg``.

        ``'ensemble'`` averages the networks' probabilities; its ``seg_logits`` are the logarithm of
        that mean (for one output channel: the mean probability, as mmseg stores it).
        """
        if self.semi_test_cfg["predict_on"] != "ensemble":
            return self.network().predict(inputs, data_samples)
        logits: list[list[Tensor]] = []
        for net in self.networks():
            results = net.predict(inputs, data_samples)
            logits.append([sample.seg_logits.data for sample in results])
        for sample, *parts in zip(results, *logits):
            if parts[0].shape[0] == 1:  # already probabilities
                mean = torch.stack(parts).mean(0)
                label = (mean > self.decode_head.threshold).to(mean)
            else:
                mean = mean_logits([part[None] for part in parts])[0]
                label = mean.argmax(0, keepdim=True)
            sample.seg_logits.data, sample.pred_sem_seg.data = mean, label
        return results


def mean_logits(logits: list[Tensor]) -> Tensor:
    """Logits (N, C, H, W) whose softmax is the mean of the given logits' softmax."""
    stacked = torch.stack([one.float().log_softmax(1) for one in logits])
    return stacked.logsumexp(0) - torch.log(torch.tensor(float(len(logits))))
