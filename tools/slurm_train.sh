#!/usr/bin/env bash
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
# Trains as a Slurm job step with one process per GPU.
#
#   [GPUS=4] [GPUS_PER_NODE=4] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# GPUS is the number of processes on all nodes. PORT is the port of the first node (29500). Nodes
# without GPUs: set GRES to nothing (GRES= tools/slurm_train.sh ...). PYTHON names another Python.

set -eu
source "$(dirname "${BASH_SOURCE[0]}")/_distributed.sh"

(($# >= 3)) || usage "PARTITION JOB_NAME CONFIG [arguments of tools/train.py]"
find_python
check_paths train.py "$3"
run_srun "$1" "$2" train.py "$3" --launcher=slurm "${@:4}"
