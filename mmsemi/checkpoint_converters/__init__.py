# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Bring published weights into the names that mmseg and this package use.

One module a source, each with a function ``convert``, which ``mmsemi convert-checkpoint`` calls. Rules that all of them keep (see :mod:`.common`):

- Files are read with ``weights_only=True``; one that holds pickled code is refused, nothing in it runs.
- Every tensor of the network must be found with its shape, or nothing is written; what the file has
  beyond that is named.
- The result is a plain mmseg checkpoint. Its ``meta`` says where it comes from and which input
  (channel order, mean, std) the weights expect; the same is printed.
"""
