#!/usr/bin/env bash
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
# Trains with one process per GPU; without a GPU, with GPUS processes on the CPU.
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# Several machines: the same command on each, with NNODES, NODE_RANK, MASTER_ADDR (the first
# machine's address) and PORT (29500) set. PYTHON names another Python.

set -eu
source "$(dirname "${BASH_SOURCE[0]}")/_distributed.sh"

(($# >= 2)) || usage "CONFIG GPUS [arguments of tools/train.py]"
need_count GPUS "$2"
find_python
check_paths train.py "$1"
run_torchrun "$2" train.py "$1" --launcher pytorch "${@:3}"
