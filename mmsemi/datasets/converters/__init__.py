# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""Bring public data sets into the layouts that the configs read, and check them.

One module a data set, each with a function ``convert``, which ``tools/dataset_converters`` and
``mmsemi prepare`` call. Rules that all of them keep (see :mod:`.common`):

- Nothing that exists is overwritten. A file that is there already is compared; one with other
  content stops the run. So a second run, or one after an interruption, only adds what is missing.
- Input with missing files is refused before anything is written; counts and, where they are known,
  hashes of the id lists are compared. ``--subset`` lifts the counts and hashes only.
- Lists are written last, so a list stands for complete and checked masks.
"""
