# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""One training step of each method in plain torch, written from its paper: the place to learn it.

The tests compare every method's loss, gradients and batch-norm statistics with its reference step,
``benchmarks/`` its time. Nothing here imports mmsemi or mmseg.

What all steps have in common:

- Networks are mmseg-like: a ``backbone``, perhaps a ``neck``, a ``decode_head`` and perhaps an
  ``auxiliary_head``. They are called as often, in the order and in the mode of the released code:
  each forward in train mode has batch-norm statistics of its own, and moves the running ones.
- Nothing is drawn. Views, masks, pairs and channel factors are given, so that another
  implementation can be run on the same draws. Dropout inside a network is torch's.
- Weights are those of the iteration: a ramp-up or a late start is the caller's.
- The result is a dictionary of 0-d losses, already weighted, whose sum is back-propagated once.
  ``sup`` is the sum of the supervised losses of all heads; the other keys are those of the method.

What is given: ``labeled`` (N, 3, H, W) normalised images with ``labels`` (N, H, W) int64; ``weak``
(U, 3, H, W) unlabelled images with ``valid`` (U, H, W) bool, False on padding; ``strong``, other
views of the same U images, not mixed yet; for each mixed view a
:class:`~reference.blocks.Recipe`, or None where it is not mixed.
"""
