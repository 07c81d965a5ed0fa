#!/usr/bin/env bash
# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
# Tests a checkpoint with one process per GPU; without a GPU, with GPUS processes on the CPU.
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# NNODES, NODE_RANK, MASTER_ADDR, PORT and PYTHON: see dist_train.sh.

set -eu
source "$(dirname "${BASH_SOURCE[0]}")/_distributed.sh"

(($# >= 3)) || usage "CONFIG CHECKPOINT GPUS [arguments of tools/test.py]"
need_count GPUS "$3"
find_python
check_paths test.py "$1" "$2"
run_torchrun "$3" test.py "$1" "$2" --launcher pytorch "${@:4}"
