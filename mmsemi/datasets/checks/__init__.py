# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Finding what is wrong with the data of a run before, and not by, training.

One list of rules (:data:`~mmsemi.datasets.checks.rules.RULES`), each written once with its id, text,
fix and cost. Cheap ones run at the start of every training (:func:`check_at_start`), all of them in
``mmsemi check-dataset`` (:func:`check_config`).

Decisions:

- The data sets list the files (:mod:`..sources`), so that what is checked is what training reads.
  Masks of unlabelled images are never opened.
- Each file is read once, in worker processes, into plain facts (:mod:`.scan`); rules judge the facts
  and never open a file again.
- A fault is a :class:`Finding` with a fix, not an exception: a check shows all faults at once.
- Copies are found by the hash of the file's bytes: exact and cheap, blind to a re-saved image.
"""

from .config import Check, check_config
from .findings import Finding, Hit, Rule, is_failure
from .rules import RULES
from .start import check_at_start

__all__ = [
    "RULES",
    "Check",
    "Finding",
    "Hit",
    "Rule",
    "check_at_start",
    "check_config",
    "is_failure",
]
