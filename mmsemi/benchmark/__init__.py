# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""How long a training step takes, and how far that is from what its mathematics needs.

``tools/benchmark.py CONFIG`` prints what :func:`~mmsemi.benchmark.measure.run_benchmark` measures.

Decisions:

- A *step* is what the training loop runs once a batch is loaded: ``model.train_step``
  (preprocessor, losses, their parsing, backward, optimiser) on a batch as a worker delivers it.
- The *floor* (:mod:`mmsemi.benchmark.floors`) is a plain torch loop with the same forwards, losses,
  backward and optimiser on tensors that are already on the device.
- Floor and step alternate on one model, and the order within a pair alternates too, so that other
  load on the machine hits both; the ratio is taken within each pair.
- Learning rates are 0: the same work is done, and as the weights stay, the losses of floor and step
  can be compared. A floor with another loss would be the floor of something else.
- By default the batch is made in memory, so that no data set is needed and every machine measures
  the same; ``data='config'`` takes the config's own data set.
"""

from .cli import format_table, main
from .measure import run_benchmark

__all__ = ["format_table", "main", "run_benchmark"]
