# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""What segmentors and the image classifier share: checked settings, networks, and their weights.

Nothing here knows what a network computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar
from urllib.error import URLError

from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from ..structures import Images, SemiBatch
from ..utils.packaged_weights import check_filled
from ..utils.pretrained import missing_weights_message
from .batch_norm import batch_norms, follows_batch, keep_running_statistics, untracked
from .checkpoints import count_loaded, spread_checkpoint
from .ema import EMATeacher
from .frozen_encoder import check_one_encoder, check_weights, freeze
from .settings import MethodSettings

Losses = dict[str, Tensor]


class SemiModel:
    """Mixin of a ``BaseModel``: one or more networks, one of which predicts.

    A method has a ``student``, and maybe a ``teacher``, an average of it, or ``branches``, networks
    of equal rank that are named 0, 1, ... The training loop, the hooks,
    :class:`~mmsemi.engine.loops.TeacherStudentValLoop` and checkpoints rely on nothing else.

    Attributes:
        settings: The method's settings.
        predict_on: Name of the network that predicts.
        loaded: For each network by its name in the state dict, how many of its tensors the last
            checkpoint brought, and of how many.
        is_spread: Whether that checkpoint had fewer networks, so that one filled several.
    """

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    #: Whether a batch without unlabelled images is a mistake.
    needs_unlabeled: ClassVar[bool] = True
    #: Where a config sets the network and its number of classes, for messages.
    network_setting: ClassVar[str] = "model.segmentor"
    classes_setting: ClassVar[str] = "model.segmentor.decode_head.num_classes"

    student: nn.Module | None
    branches: nn.ModuleList | None
    teacher: EMATeacher | None

    def _set_up(self, network: dict, settings: dict[str, Any]) -> None:
        """Check the settings and build the networks; call it after the model's constructor.

        Args:
            network: Config of one network.
            settings: The method's settings, with ``predict_on``.

        Raises:
            ConfigError: A setting is unknown or wrong, or ``predict_on`` names no network.
        """
        self.settings = self.Settings.read(type(self).__name__, settings)
        strong = getattr(self.settings, "strong", None)
        self.strong = MODELS.build(strong) if strong else None
        self.loaded: dict[str, tuple[int, int]] = {}
        self.is_spread = False
        self.student = self.branches = self.teacher = None
        self.build_networks(network)
        self._backbone_config = network.get("backbone") or {}
        if self.settings.frozen_encoder:
            self._freeze_encoders()
        self._set_batch_norms()
        self.predict_on = self.settings.predict_on
        if self.predict_on is None:
            self.predict_on = "teacher" if self.has_teacher else self.network_names[0]
        if self.predict_on not in self.network_names:
            self.settings.refuse("predict_on", f"must be one of {self.network_names}")
        self._register_load_state_dict_pre_hook(self._adapt_state_dict)

    def build_networks(self, network: dict) -> None:
        """Build the networks; here, one student."""
        self.student = MODELS.build(network)

    def _freeze_encoders(self) -> None:
        """Freeze the backbone of each network; a teacher has its student's.

        Raises:
            ConfigError: A backbone is none that can be frozen, or has a setting for training alone.
        """
        if self._backbone_config.get("drop_path_rate"):
            self.settings.refuse(
                "frozen_encoder",
                "a frozen encoder is in eval mode, where drop path does nothing: set "
                "segmentor.backbone.drop_path_rate=0",
            )
        for net in self.networks():
            freeze(net.backbone)
        if self.has_teacher:
            self.teacher.module.backbone = self.student.backbone

    def _set_batch_norms(self) -> None:
        """Do what the settings say about batch norms.

        Raises:
            ConfigError: They would change nothing.
        """
        cfg = self.settings
        for net in self._prefixes().values() if cfg.backbone_norm_eval else ():
            backbone = net.backbone
            if not batch_norms(backbone):
                cfg.refuse("backbone_norm_eval", f"{type(backbone).__name__} has no batch norm")
            if getattr(backbone, "norm_eval", False):
                cfg.refuse(
                    "backbone_norm_eval",
                    f"{type(backbone).__name__} does the same by norm_eval=True: set one of the two",
                )
            keep_running_statistics(backbone)
        if getattr(cfg, "strong_view_stats", True):
            return
        for net in self.networks():
            net.train()
            is_kept = cfg.backbone_norm_eval or cfg.frozen_encoder
            kept = set(batch_norms(net.backbone)) if is_kept else set()
            if not any(follows_batch(norm) for norm in batch_norms(net) if norm not in kept):
                cfg.refuse(
                    "strong_view_stats", "no batch norm of the network changes its statistics"
                )
            if any(getattr(module, "with_cp", False) for module in net.modules()):
                cfg.refuse(
                    "strong_view_stats",
                    "with_cp=True runs the forward again in the backward pass, where its views are not "
                    "known: use with_cp=False",
                )

    # ---------------------------------------------------------------- which networks there are

    @property
    def has_teacher(self) -> bool:
        """Whether the method keeps an average of the student."""
        return self.teacher is not None

    def networks(self) -> list[nn.Module]:
        """The networks that are trained."""
        return [self.student] if self.branches is None else list(self.branches)

    @property
    def network_names(self) -> list[str | int]:
        """Legal values of ``predict_on``."""
        if self.branches is not None:
            return [*range(len(self.branches)), "ensemble"]
        return ["student", "teacher"] if self.has_teacher else ["student"]

    def network(self, name: str | int | None = None) -> nn.Module:
        """A network by name; ``None`` is the one that predicts (the first one of an ensemble)."""
        name = self.predict_on if name is None else name
        if self.branches is not None:
            return self.branches[0 if name == "ensemble" else name]
        return self.teacher.module if name == "teacher" else self.student

    @contextmanager
    def predicting_on(self, name: str | int) -> Iterator[None]:
        """Predict with another network for a while, e.g. to validate student and teacher."""
        if name not in self.network_names:
            raise ConfigError(f"predict_on={name!r} is none of {self.network_names}")
        before, self.predict_on = self.predict_on, name
        try:
            yield
        finally:
            self.predict_on = before

    def required_hooks(self) -> list[dict]:
        """Configs of the hooks without which the method would be another one."""
        return [dict(type="MeanTeacherHook")] if self.has_teacher else []

    # ---------------------------------------------------------------- weights

    def init_weights(self) -> None:
        """Initialise as the stock model does; an unreachable weight file says where to put it.

        Raises:
            CheckpointError: Pre-trained weights are neither on disk nor downloadable, or ``mmsemi://``
                weights do not fill the part that names them.
        """
        try:
            super().init_weights()
            check_filled(self)
        except (URLError, ConnectionError, TimeoutError, FileNotFoundError) as error:
            message = missing_weights_message(self.network(), error, self.network_setting)
            raise CheckpointError(message) from error
        if self.has_teacher:
            self.teacher.copy_student(self.student)

    def _prefixes(self) -> dict[str, nn.Module]:
        """The networks by where they lie in the state dict."""
        if self.branches is not None:
            return {f"branches.{i}.": net for i, net in enumerate(self.branches)}
        prefixes = {"student.": self.student}
        if self.has_teacher:
            prefixes["teacher.module."] = self.teacher.module
        return prefixes

    def _adapt_state_dict(self, state_dict: dict, prefix: str, *_: Any) -> None:
        """Spread a plain checkpoint, or one of another method, over every network."""
        nets = self._prefixes()
        if self.settings.frozen_encoder and self.has_teacher:
            check_one_encoder(state_dict, [f"{prefix}{place}backbone." for place in nets])
        self.is_spread = spread_checkpoint(state_dict, prefix, nets, type(self).__name__)
        self.loaded = {
            key.removesuffix(".").removesuffix(".module"): count_loaded(
                state_dict, prefix + key, net
            )
            for key, net in nets.items()
        }

    # ---------------------------------------------------------------- training

    def prepare_training(self) -> None:
        """Called once before a training starts or goes on, when all weights are loaded.

        Raises:
            ConfigError: The encoder is frozen and random.
        """
        for net in self.networks() if self.settings.frozen_encoder else ():
            check_weights(net, self._backbone_config, is_loaded=bool(self.loaded))

    def check_batch(self, batch: Any) -> None:
        """Refuse what the method cannot train on.

        Raises:
            ConfigError: The batch is not one of :class:`SemiSegDataPreProcessor`, lacks labelled or
                unlabelled images, or nothing updates the teacher.
        """
        name = type(self).__name__
        if not isinstance(batch, SemiBatch) or batch.labeled is None:
            raise ConfigError(
                f"{name} trains on batches with labelled images: use "
                "data_preprocessor=dict(type='SemiSegDataPreProcessor') and a SemiDataset with "
                "sampler.num_per_source.labeled of at least 1"
            )
        if self.needs_unlabeled and batch.unlabeled is None:
            raise ConfigError(
                f"{name} got no unlabelled image: give the dataset an unlabelled source and set "
                "sampler.num_per_source.unlabeled to at least 1"
            )
        if self.has_teacher and not self.teacher.is_started:
            raise ConfigError(
                f"{name} has a teacher but no MeanTeacherHook updates it: use "
                "train_cfg=dict(type='SemiIterBasedTrainLoop'), which adds the hook, or add "
                "custom_hooks=[dict(type='MeanTeacherHook')]"
            )

    def strong_view(self, images: Images, batch: SemiBatch) -> Tensor:
        """A strong view (N, C, H, W) of images; their weak view where ``strong`` is None."""
        if self.strong is None:
            return images.pixels_NCHW
        return self.data_preprocessor.photometric_view(images, self.strong, batch.generator)

    def strong_statistics(self, net: nn.Module) -> AbstractContextManager[None]:
        """For the forward of strong views: what ``strong_view_stats`` makes of their statistics."""
        return nullcontext() if self.settings.strong_view_stats else untracked(net)

    @staticmethod
    def iteration() -> int:
        """Training iteration from 0, as the runner counts it (also after a resume)."""
        return MessageHub.get_current_instance().runtime_info.get("iter", 0)

    def max_iters(self, name: str) -> int:
        """Iterations of the whole run.

        Args:
            name: The setting that stands for it where it is None.

        Raises:
            ConfigError: The training loop does not tell.
        """
        total = MessageHub.get_current_instance().runtime_info.get("max_iters")
        if total is None:
            self.settings.refuse(
                name, "that is train_cfg.max_iters, which this loop does not tell: set it"
            )
        return total
