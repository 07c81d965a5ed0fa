# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The networks of a semi-supervised model: student, teacher or branches, and which one predicts.

What :class:`~mmsemi.models.segmentors.SemiSegmentor` and the image classifier share; nothing here
knows what a network computes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError

from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..utils import check_keys
from ..utils.pretrained import missing_weights_message
from .checkpoints import spread_checkpoint

Inputs = dict[str, Any]
Losses = dict[str, Tensor]


class SemiNetworks:
    """Mixin of a ``BaseModel`` with one network in several copies; :meth:`_set_up` makes them.

    The train loop, :class:`~mmsemi.engine.hooks.MeanTeacherHook`,
    :class:`~mmsemi.engine.loops.TeacherStudentValLoop` and checkpoints rely on nothing else.
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
    #: Where a config sets the network and its number of classes, for messages.
    network_setting = "model.segmentor"
    classes_setting = "model.segmentor.decode_head.num_classes"
    #: Set by MeanTeacherHook(when='mid'): call it where the teacher shall be averaged.
    update_teacher: Callable[[], None] | None = None

    def _set_up(
        self, network: dict, semi_train_cfg: dict | None, semi_test_cfg: dict | None
    ) -> None:
        """Check the settings and build the networks; call it after the model's constructor.

        Args:
            network: Config of one network.
            semi_train_cfg: Settings of the method.
            semi_test_cfg: Settings of prediction.

        Raises:
            ValueError: A key is unknown, ``predict_on`` names no network, or the preprocessor makes
                more views than the method takes.
        """
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
        if self.num_branches == 1:
            self.student = MODELS.build(network)
        else:
            self.branches = nn.ModuleList(MODELS.build(network) for _ in range(self.num_branches))
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

    def _check_teacher_statistics(self) -> None:
        """Refuse a teacher whose batch-norm statistics nothing would ever change."""
        self._check_choice("teacher_mode", ("train", "eval"))
        self._check_choice("buffers", ("keep", "copy", "ema"))
        cfg = self.semi_train_cfg
        if cfg["teacher_mode"] == "eval" and cfg["buffers"] == "keep":
            raise ValueError(
                f"{type(self).__name__}: teacher_mode='eval' with buffers='keep' leaves the "
                "teacher's batch-norm statistics at their initial values for ever: use "
                "buffers='copy' or 'ema'"
            )

    # ---------------------------------------------------------------- which networks there are

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

    # ---------------------------------------------------------------- teacher

    def required_hooks(self) -> list[dict]:
        """Configs of the hooks without which the method would be another one."""
        return []

    def sync_teacher(self) -> None:
        """Make the teacher an exact copy of the student, buffers included."""
        self.teacher.load_state_dict(self.student.state_dict())

    def train(self, mode: bool = True) -> SemiNetworks:
        """Train mode for everything but the teacher, whose statistics come from its hook alone."""
        super().train(mode)
        if self.has_teacher and self.semi_train_cfg.get("teacher_mode", "eval") == "eval":
            self.teacher.eval()
        return self

    # ---------------------------------------------------------------- weights

    def init_weights(self) -> None:
        """Initialise as the stock model does; an unreachable weight file says where to put it.

        Raises:
            FileNotFoundError: Pre-trained weights are neither on disk nor downloadable.
        """
        try:
            super().init_weights()
        except (URLError, ConnectionError, TimeoutError, FileNotFoundError) as error:
            message = missing_weights_message(self.network(), error, self.network_setting)
            raise FileNotFoundError(message) from error
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
