#!/usr/bin/env bash
# What to measure first where an accelerator is at hand for minutes, the most valuable first. Each step leaves
# $OUT/NAME.json, a record for docs/benchmarks/ (benchmarks/tables.py), or NAME.log at once: what is done is done.
# Needs JAX for the accelerator, Flax, Optax, jaxtyping, rich, click, filelock, and PyTorch for the rivals; none of
# the packages that read datasets, and no installation of jaxreid.
#   OUT=out BUDGET=660 bash benchmarks/on_gpu.sh        on the accelerator (about 11 minutes)
#   OUT=out TINY=1 bash benchmarks/on_gpu.sh            a rehearsal on a CPU (about 3 minutes)
# Exit code: how many steps failed.
set -u
: "${OUT:=out}" "${BUDGET:=660}" "${PYTHON:=python3}"
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 2
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.70} # PyTorch needs some as well
start=$SECONDS failed=0

# step NAME LIMIT COMMAND...: at most LIMIT seconds, and no more than are left.
step() {
  local name=$1 limit=$2 left=$((BUDGET - (SECONDS - start))) begin=$SECONDS code=0
  shift 2
  ((left < limit)) && limit=$left
  if ((limit < 20)); then
    echo "== $name: no time left"
    return
  fi
  timeout "$limit" "$@" >"$OUT/$name.log" 2>&1 || code=$?
  echo "== $name: exit $code, $((SECONDS - begin)) s"
  tail -n $((code ? 12 : 3)) "$OUT/$name.log"
  ((code)) && failed=$((failed + 1))
  return 0
}

# record NAME LIMIT BENCHMARK OPTIONS...
record() {
  local name=$1 limit=$2
  shift 2
  step "$name" "$limit" "$PYTHON" benchmarks/record.py "$OUT/$name.json" "$@"
}

if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv | tee "$OUT/card.txt"
fi
if [[ -n ${TINY:-} ]]; then
  record attack-gpu-tiny 150 attack --architecture resnet18 --size 64x32 --batch 4 --steps 2 --repeats 1 --dtype bfloat16
  record ranking-gpu-tiny 60 ranking --size tiny --repeats 1
  record guides-gpu-tiny 40 guides --size tiny --repeats 1
else
  record attack-gpu-fna-bfloat16 150 attack --attack fna --batch 256 --repeats 3 --dtype bfloat16 --torch-compile
  record attack-gpu-fna-float32 130 attack --attack fna --batch 128 --repeats 3 --torch-compile
  record ranking-gpu-market1501 60 ranking --size market1501 --repeats 5
  record attack-gpu-fna-bfloat16-best-batch 120 attack --attack fna --auto-batch --no-rivals --repeats 3 --dtype bfloat16
  step golden 120 "$PYTHON" -m pytest -q -p no:cacheprovider tests/attacks tests/ranking tests/test_guides.py --maxfail=5
  record ranking-gpu-msmt17 60 ranking --size msmt17 --no-argsort --repeats 2
  record attack-gpu-sma-bfloat16 100 attack --attack sma --batch 256 --repeats 2 --dtype bfloat16 --no-rivals
  record guides-gpu 40 guides
fi
echo "done in $((SECONDS - start)) s, $failed failed"
exit "$failed"
