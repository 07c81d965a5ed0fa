#!/usr/bin/env bash
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
# Tests a checkpoint as a Slurm job step with one process per GPU.
#
#   [GPUS=4] [GPUS_PER_NODE=4] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]
#
# GPUS, PORT, GRES and PYTHON: see slurm_train.sh.

set -eu
source "$(dirname "${BASH_SOURCE[0]}")/_distributed.sh"

(($# >= 4)) || usage "PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of tools/test.py]"
find_python
check_paths test.py "$3" "$4"
run_srun "$1" "$2" test.py "$3" "$4" --launcher=slurm "${@:5}"
