# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""The runs behind the tables in ``docs/results``: what is run, the runner, the results, the tables.

    runs/nuclei.sh [method] [seed]      # every run that is missing, or one of them
    runs/nuclei.sh cost [method]        # seconds per iteration and peak memory, alone on the machine
    make tables                         # the tables from the results

- :mod:`.rows`: the rows of each table, one line each;
- :mod:`.run`: the command; skips what has a result, resumes what was cut;
- :mod:`.settings`: the config of a row, and the hash of all that it says;
- :mod:`.training_run`: one training, its folder, and the numbers it ends with; :mod:`.rounds_run`: one
  self-training; :mod:`.make`: the run of a row and a seed;
- :mod:`.training`: the process of one training, and what it tells about itself;
- :mod:`.code`: which files a training has run, by hash;
- :mod:`.results`: one line per run in ``docs/results/<data set>.jsonl``;
- :mod:`.table`: the tables that are made from them;
- :mod:`.look`: how good the pseudo-labels of the rows are, and pictures of them.
"""

import mmsemi  # noqa: F401  # before mmseg, for mmcv-lite
