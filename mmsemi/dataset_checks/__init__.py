# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Finding what is wrong with a data set before a training run does.

``tools/check_dataset.py CONFIG`` prints what :func:`~mmsemi.dataset_checks.cli.check_config` finds.

Decisions:

- A config names the files; the data sets list them (:mod:`.sources`), so that what is checked is
  what training reads. Masks of unlabelled images are never opened.
- Each file is read once, in worker processes, into plain facts (:mod:`.scan`); rules judge the facts
  (:mod:`.source_rules`, :mod:`.overlap_rules`) and never open a file's pixels again.
- A fault is a :class:`~mmsemi.dataset_checks.findings.Finding` with a fix, not an exception: a run
  shows all faults at once.
- Copies are found by the hash of the file's bytes: exact and cheap, blind to a re-saved image.
"""

from .cli import check_config, main
from .findings import Finding

__all__ = ["Finding", "check_config", "main"]
