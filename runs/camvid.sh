#!/bin/sh
# The runs behind docs/results/camvid.md: runs/camvid.sh [method] [seed] [--again] [--keep] [--here] [--list]
#                                     runs/camvid.sh cost [method]
# One thread, at low priority. Needs data/camvid (mmsemi prepare camvid) and the ImageNet weights (mmsemi weights
# efficientnet_lite0).
cd "$(dirname "$0")/.." || exit 1
PYTHONPATH=. OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 exec nice -n 10 "${PYTHON:-.venv/bin/python}" -m runs.run camvid "$@"
