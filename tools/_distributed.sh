# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
# What dist_train.sh, dist_test.sh, slurm_train.sh and slurm_test.sh share; it is sourced, not run.

SCRIPT=$(basename "$0")
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$TOOLS")

fail() {
    echo "$SCRIPT: error: $1" >&2
    exit 2
}

usage() {
    echo "usage: $SCRIPT $1" >&2
    exit 2
}

# need_count NAME VALUE [LOWEST]
need_count() {
    local lowest=${3:-1}
    [[ $2 =~ ^(0|[1-9][0-9]{0,4})$ ]] && (($2 >= lowest)) ||
        fail "$1 must be a whole number from $lowest on, got '$2'"
}

# Sets PYTHON: the given one, the active environment's, or the checkout's .venv; it must have torch.
find_python() {
    local candidate candidates=("${PYTHON:-}")
    [[ -n ${PYTHON:-} ]] || candidates=(python python3 "$ROOT/.venv/bin/python")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import importlib.util, sys
sys.exit(importlib.util.find_spec("torch") is None)' >/dev/null 2>&1; then
            PYTHON=$candidate
            return
        fi
    done
    fail "no Python with torch (tried: ${candidates[*]}): activate the environment or set PYTHON"
}

# check_paths TOOL CONFIG [CHECKPOINT]
# A wrong path is explained by one process, with close matches, instead of by all of them at once.
check_paths() {
    local tool=$1 config=$2 path
    shift 2
    for path in "$config" "configs/$config" "$ROOT/$config" "$ROOT/configs/$config"; do
        if [[ $config == *::* || -f $path || -f $path.py ]]; then
            [[ $# == 0 || $1 == *:* || -f ${1/#\~/$HOME} ]] && return
        fi
    done
    exec "$PYTHON" "$TOOLS/$tool" "$config" "$@"
}

# run_torchrun GPUS TOOL ARGUMENT...
run_torchrun() {
    local gpus=$1 tool=$2
    shift 2
    NNODES=${NNODES:-1}
    NODE_RANK=${NODE_RANK:-0}
    PORT=${PORT:-29500}
    MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
    need_count NNODES "$NNODES"
    need_count NODE_RANK "$NODE_RANK" 0
    need_count PORT "$PORT"
    ((NODE_RANK < NNODES)) || fail "NODE_RANK=$NODE_RANK must be below NNODES=$NNODES"
    if ((NODE_RANK == 0)) && (: <"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
        fail "port $PORT is in use, by another run on this machine? Set PORT to a free one"
    fi
    # As in the stock script; without a PYTHONPATH of its own, the working directory is on it too.
    export PYTHONPATH="$ROOT:${PYTHONPATH:-}"
    exec "$PYTHON" -m torch.distributed.run \
        --nnodes="$NNODES" \
        --node_rank="$NODE_RANK" \
        --master_addr="$MASTER_ADDR" \
        --nproc_per_node="$gpus" \
        --master_port="$PORT" \
        "$TOOLS/$tool" "$@"
}

# run_srun PARTITION JOB_NAME TOOL ARGUMENT...
run_srun() {
    local partition=$1 job_name=$2 tool=$3 gres=()
    shift 3
    GPUS=${GPUS:-4}
    GPUS_PER_NODE=${GPUS_PER_NODE:-4}
    CPUS_PER_TASK=${CPUS_PER_TASK:-5}
    need_count GPUS "$GPUS"
    need_count GPUS_PER_NODE "$GPUS_PER_NODE"
    need_count CPUS_PER_TASK "$CPUS_PER_TASK"
    command -v srun >/dev/null || fail "there is no srun here; without Slurm use ${SCRIPT/slurm/dist}"
    GRES=${GRES-gpu:$GPUS_PER_NODE}
    [[ -z $GRES ]] || gres=(--gres="$GRES")
    if [[ -n ${PORT:-} ]]; then
        need_count PORT "$PORT"
        export MASTER_PORT=$PORT
    fi
    export PYTHONPATH="$ROOT:${PYTHONPATH:-}"
    # SRUN_ARGS is a list of arguments separated by spaces: not quoted on purpose.
    # shellcheck disable=SC2086
    exec srun -p "$partition" \
        --job-name="$job_name" \
        ${gres[@]+"${gres[@]}"} \
        --ntasks="$GPUS" \
        --ntasks-per-node="$GPUS_PER_NODE" \
        --cpus-per-task="$CPUS_PER_TASK" \
        --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} \
        "$PYTHON" -u "$TOOLS/$tool" "$@"
}
