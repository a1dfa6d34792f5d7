#!/usr/bin/env bash
# What to measure first where an accelerator is at hand for minutes, the most valuable first.
#   OUT=out BUDGET=660 bash benchmarks/on_gpu.sh        on the accelerator: ends within BUDGET seconds
#   OUT=out TINY=1 bash benchmarks/on_gpu.sh            a rehearsal of every step on a CPU, in minutes
# Each step leaves $OUT/NAME.json as soon as it is done, $OUT/NAME.log, and a line in $OUT/steps.jsonl
# (exit code, seconds); ARCHIVE=FILE.tar is a copy of $OUT after each step. The limits of the first
# part add up to the default BUDGET at most, so that each of its steps has its turn; those after it
# run in what is left. Exit code: how many steps failed; steps that had no time left do not count.
#
# Needs CPython 3.12 with JAX 0.11 or newer for the accelerator, Flax, Optax, jaxtyping, rich, click,
# filelock, PyTorch with a C++ compiler for the rivals, Pillow and OpenCV for the worst case, pytest
# and hypothesis for the tests; no network, no installation of jaxreid, and nothing that reads datasets
# (TFDS, Grain, array_record, tensorboardX). Where Grain is (its wheel and array_record's, unpacked on
# PYTHONPATH), how fast images are read is measured too; where TFDS, tensorboardX, an installed jaxreid
# and $TFDS_DATA_DIR/synthetic_reid are as well, the whole loop of training.
#
# The records become tables of docs/benchmarks.md by their names:
#   cp out/{attack-gpu,golden-attacks,goat-gpu,guides-gpu,input-gpu,ranking-gpu,train-gpu,worst-query}*.json \
#       docs/benchmarks/ && python benchmarks/tables.py
set -u
: "${OUT:=out}" "${BUDGET:=660}" "${PYTHON:=python3}" "${TINY:=}" "${ARCHIVE:=}"
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 2
if [[ $ARCHIVE ]]; then
  ARCHIVE=$(cd "$(dirname "$ARCHIVE")" && pwd)/$(basename "$ARCHIVE") || exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# PyTorch's contestants keep memory of their own for each recorded graph.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.40}
start=$SECONDS failed=0 child='' stopped=''
trap 'stopped=1; [[ $child ]] && kill "$child" 2>/dev/null' INT TERM

# step NAME LIMIT COMMAND...: at most LIMIT seconds, ten times as many in a rehearsal on whatever
# machine, and no more than are left.
step() {
  local name=$1 limit=$(($2 * (${#TINY} ? 10 : 1))) left=$((BUDGET - (SECONDS - start))) begin=$SECONDS code=0
  shift 2
  ((left < limit)) && limit=$left
  if [[ $stopped ]] || ((limit < 15)); then
    echo "== $name: no time left"
    return 1
  fi
  timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1 &
  child=$!
  wait "$child" || code=$?
  [[ $stopped ]] && wait "$child" 2>/dev/null
  child=''
  echo "== $name: exit $code, $((SECONDS - begin)) s"
  tail -n $((code ? 12 : 3)) "$OUT/$name.log"
  printf '{"step": "%s", "exit": %d, "seconds": %d}\n' "$name" "$code" $((SECONDS - begin)) >>"$OUT/steps.jsonl"
  [[ $ARCHIVE ]] && tar -C "$OUT" -cf "$ARCHIVE.part" . && mv "$ARCHIVE.part" "$ARCHIVE"
  ((code)) && failed=$((failed + 1))
  return "$code"
}

# record NAME LIMIT BENCHMARK OPTIONS...
record() {
  local name=$1 limit=$2
  shift 2
  step "$name" "$limit" "$PYTHON" benchmarks/record.py "$OUT/$name.json" "$@"
}

# compiled NAME LIMIT BENCHMARK OPTIONS...: beside compiled PyTorch, and if that fails or takes too
# long, beside PyTorch that is not: our own program is in the cache by then.
compiled() {
  local name=$1
  record "$@" "${compile[@]}" && return
  [[ -z $TINY && -z $stopped ]] && shift 2 && record "$name-eager" 60 "$@"
}

# has MODULE...: whether they can be imported.
has() { says "$(printf 'import %s\n' "$@")"; }

# says CODE: whether Python runs it.
says() { [[ ! $stopped ]] && timeout 30 "$PYTHON" -c "$1" 2>/dev/null; }

if [[ $TINY ]]; then
  BUDGET=3600 compile=()
  net=(--architecture resnet_patch --size 16x8) batch=(--batch 2) half=(--batch 2 --no-rivals)
  auto=(--batch 2 --no-rivals)
  steps=(--steps 2 --repeats 1) repeats=(--repeats 1) rank=(--size tiny) large=(--size tiny) gallery=tiny
  rows=(--batch 2) suite=(tests/attacks/test_rules.py) platform=cpu
else
  compile=(--torch-compile)
  net=(--architecture resnet50 --size 256x128) batch=(--batch 128) half=(--batch 256) auto=(--auto-batch)
  steps=(--repeats 3 --no-unfrozen) repeats=(--repeats 3) rank=(--size market1501) large=(--size msmt17)
  gallery=market1501 rows=(--batch 64) platform=${TEST_PLATFORM:-cuda}
  suite=(tests/attacks/test_named.py tests/attacks/test_pgd.py tests/ranking tests/test_guides.py)
fi

# First part. What each is expected to take on an H100 or H200, before anyone has measured it: 20, 40,
# 130, 110, 20, 70 and 60 s, most of which is importing and compiling.
step versions 40 "$PYTHON" benchmarks/versions.py "$OUT/versions.json"
step golden-attacks-gpu 75 "$PYTHON" benchmarks/golden_attacks.py "$OUT/golden-attacks-gpu.json"
compiled attack-gpu-fna-bfloat16 180 attack --attack fna "${net[@]}" "${half[@]}" "${steps[@]}" --dtype bfloat16
compiled attack-gpu-fna-float32 150 attack --attack fna "${net[@]}" "${batch[@]}" "${steps[@]}"
record ranking-gpu-market1501 40 ranking "${rank[@]}" "${repeats[@]}"
record goat-gpu 90 goat "${net[@]}" "${rows[@]}" "${repeats[@]}" --dtype bfloat16 --few
record worst-query-gpu 85 worst "${net[@]}" "${rows[@]}" "${repeats[@]}" --dtype bfloat16 --gallery "$gallery"

# What is left: 100, 20, 30, 80 and 100 s.
record attack-gpu-sma-bfloat16 120 attack --attack sma "${net[@]}" "${auto[@]}" "${steps[@]}" --dtype bfloat16
record guides-gpu 30 guides "${rank[@]}" "${repeats[@]}"
record ranking-gpu-msmt17 60 ranking "${large[@]}" --no-argsort "${repeats[@]}"
record attack-gpu-fna-float32-batch 120 attack --attack fna "${net[@]}" "${auto[@]}" "${steps[@]}" --no-rivals
step suite 120 env TEST_PLATFORM="$platform" "$PYTHON" -m pytest -q -p no:cacheprovider \
  -m "not slow and not torch" --maxfail=20 "${suite[@]}"
if has grain cv2 PIL; then
  record input-gpu 60 data --images $((${#TINY} ? 64 : 4096)) "${repeats[@]}"
fi
if has grain tensorflow_datasets tensorboardX && says 'import importlib.metadata as m; m.version("jaxreid")' &&
  [[ -d ${TFDS_DATA_DIR:-/nonexistent}/synthetic_reid ]]; then
  record train-gpu 120 train
fi
echo "done in $((SECONDS - start)) s, $failed failed"
exit "$failed"
