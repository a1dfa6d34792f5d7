#!/usr/bin/env bash
# What to measure first where an accelerator is at hand for minutes, the most valuable first.
#   OUT=out bash benchmarks/on_gpu.sh                   on the accelerator: ends within BUDGET=570 seconds
#   OUT=out TINY=1 bash benchmarks/on_gpu.sh            a rehearsal of every step on a CPU, in minutes
#                                                       (BUDGET=3600): no table is made of its records
#   ARCHIVE=$OUT/gpu.tar OUT=out bash benchmarks/on_gpu.sh      keeps a copy where an older $OUT is: the
#                                                       shell reads the variables from left to right
# Each step leaves $OUT/NAME.log and a line in $OUT/steps.jsonl (exit code, seconds), and one that ends
# well $OUT/NAME.json ($OUT/suite.xml for the tests). ARCHIVE=FILE.tar is a copy of $OUT after each
# step. A second call with the same $OUT goes on: what ended well before is not measured again
# (AGAIN=1: it is). Exit code: how many steps failed; steps that had no time left do not count. It is 2
# at once, and nothing is measured, where JAX finds no accelerator.
#
# A step is killed at its limit. The limits of the first part add up to the default BUDGET at most,
# even where PyTorch can't be compiled in time, so that each of its steps has its turn; those after it
# run in what is left.
#
# Needs CPython 3.12 with JAX 0.11 or newer for the accelerator, Flax, Optax, jaxtyping, rich, click,
# filelock, PyTorch with a C++ compiler for the rivals, Pillow and OpenCV for the worst case, pytest
# and hypothesis for the tests; no network, no installation of jaxreid, and nothing that reads datasets
# (TFDS, Grain, array_record, tensorboardX). Where Grain is, how fast images are read is measured too;
# where TFDS, tensorboardX, an installed jaxreid and $TFDS_DATA_DIR/synthetic_reid are as well, the
# whole loop of training. What a machine lacks of these, for CPython 3.12 on Linux x86-64, can travel
# with the checkout:
#   python benchmarks/carry.py                          beforehand, where network and jaxreid are: makes
#                                                       carried/ in the checkout, at most 48 MiB
# Git ignores it: name it, carried, where what git ignores is sent only by name. CARRIED=FOLDER is one
# elsewhere. Only these two steps see it, behind the machine's own packages, of which protobuf must be
# 5.28.3 or newer.
#
# The records become tables of docs/benchmarks.md by their names:
#   cp out/{attack-gpu,golden-attacks,goat-gpu,guides-gpu,input-gpu,ranking-gpu,train-gpu,worst-query}*.json \
#       docs/benchmarks/ && python benchmarks/tables.py
set -u
: "${OUT:=out}" "${PYTHON:=python3}" "${TINY:=}" "${ARCHIVE:=}" "${AGAIN:=}" "${CARRIED:=}"
: "${BUDGET:=${TINY:+3600}}" "${BUDGET:=570}"
if [[ ! $BUDGET =~ ^[1-9][0-9]*$ ]]; then
  echo "BUDGET=$BUDGET: expected whole seconds" >&2
  exit 2
fi
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd -P) || exit 2
if [[ $ARCHIVE ]]; then
  ARCHIVE=$(cd "$(dirname "$ARCHIVE")" && pwd -P)/$(basename "$ARCHIVE") || exit 2
fi
[[ ! $CARRIED || $CARRIED == /* ]] || CARRIED=$PWD/$CARRIED
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
: "${CARRIED:=$PWD/carried}"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# By it the records say what they are of.
export REHEARSAL=${TINY:+1}
# PyTorch's contestants keep memory of their own for each recorded graph.
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.40}
start=$SECONDS failed=0 child='' stopped='' slow=0 why=''
trap 'stopped=1; [[ $child ]] && kill "$child" 2>/dev/null' INT TERM

# left: how many seconds.
left() { echo $((BUDGET - (SECONDS - start))); }

# ended GROUP: kills what is left of a group of processes, 4 s after it was told to stop. timeout(1)
# does so only as long as the one process lives that it started.
ended() {
  for _ in {1..40}; do
    kill -0 -- "-$1" 2>/dev/null || return 0
    sleep .1
  done
  kill -KILL -- "-$1" 2>/dev/null
}

# before NAME: whether an earlier call has its result.
before() {
  [[ ! $AGAIN && (-e $OUT/$1.json || -e $OUT/$1.xml) ]] &&
    grep -qs "^{\"step\": \"$1\", \"exit\": 0, .*\"rehearsal\": ${rehearsal}}" "$OUT/steps.jsonl" &&
    echo "== $1: done before"
}

# step NAME LIMIT COMMAND...: at most LIMIT seconds, ten times as many in a rehearsal on whatever
# machine, and no more than are left. The last 5 of them are for its end.
step() {
  local name=$1 limit=$(($2 * (${#TINY} ? 10 : 1))) begin=$SECONDS code=0
  before "$name" && return
  shift 2
  (($(left) < limit)) && limit=$(left)
  if [[ $stopped ]] || ((limit < 15)); then
    echo "== $name: no time left"
    return 0
  fi
  # What is left of another try is no result of this one.
  rm -f "$OUT/$name".{json,xml}
  timeout -k 4 $((limit - 5)) "$@" >"$OUT/$name.log" 2>&1 &
  child=$!
  wait "$child" || code=$?
  [[ $stopped ]] && wait "$child" 2>/dev/null
  ended "$child"
  child=''
  echo "== $name: exit $code, $((SECONDS - begin)) s"
  tail -n $((code ? 12 : 3)) "$OUT/$name.log"
  printf '{"step": "%s", "exit": %d, "seconds": %d, "rehearsal": %s}\n' \
    "$name" "$code" $((SECONDS - begin)) "$rehearsal" >>"$OUT/steps.jsonl"
  [[ $ARCHIVE ]] && archive
  ((code)) && failed=$((failed + 1))
  return "$code"
}

# archive: copies $OUT, in which the copy may lie.
archive() {
  local here="./${ARCHIVE#"$OUT/"}"
  tar -C "$OUT" --no-wildcards --exclude="$here" --exclude="$here.part" -cf "$ARCHIVE.part" . &&
    mv "$ARCHIVE.part" "$ARCHIVE"
}

# record NAME LIMIT BENCHMARK OPTIONS...
record() {
  local name=$1 limit=$2
  shift 2
  step "$name" "$limit" "$PYTHON" benchmarks/record.py "$OUT/$name.json" "$@"
}

# eager NAME LIMIT BENCHMARK OPTIONS...: beside PyTorch, and if that fails or takes too long, alone:
# our own program is in the cache by then.
eager() {
  local name=$1
  before "${1%-eager}-alone" && return
  ((slow < 2)) && record "$@" && return
  [[ $TINY || $stopped ]] && return
  slow=2
  shift 2
  record "${name%-eager}-alone" 45 "$@" --no-rivals
}

# compiled NAME LIMIT BENCHMARK OPTIONS...: beside compiled PyTorch, and if that fails or takes too
# long, beside PyTorch that is not, as those after it are then: the time is spent. So it is in a call
# that goes on.
compiled() {
  local name=$1
  if before "$name-eager" || before "$name-alone"; then
    ((slow)) || slow=1
    return
  fi
  ((slow)) || { record "$@" "${compile[@]}" && return; }
  [[ $TINY || $stopped ]] && return
  ((slow)) || slow=1
  shift 2
  eager "$name-eager" 60 "$@"
}

# has MODULE...: whether they can be imported.
has() { says "$(printf 'import %s\n' "$@")"; }

# says CODE: whether Python runs it, if there is time for a step after it; $why has what it said.
says() {
  why='no time left'
  [[ ! $stopped ]] && (($(left) >= 45)) && why=$(timeout -k 5 30 "$PYTHON" -c "$1" 2>&1)
}

# What the two steps that read datasets look into: what is carried stays as it was sent, and PYTHONPATH
# comes before a machine's own packages, which are therefore named in it.
packages=$PYTHONPATH datasets=${TFDS_DATA_DIR:-/nonexistent} bytecode=${PYTHONDONTWRITEBYTECODE:-}
if [[ -d $CARRIED/packages ]]; then
  own=$("$PYTHON" -c 'import sys; print(*filter(None, sys.path), sep=":")' 2>/dev/null)
  packages=${own:-$PYTHONPATH}:$CARRIED/packages bytecode=1
  [[ -d $datasets/synthetic_reid ]] || datasets=$CARRIED/data
fi

# left_out NAME: says why, in a line.
left_out() { echo "== $1: left out: ${why##*$'\n'}"; }

# input: how fast images are read.
input() {
  local -x PYTHONPATH=$packages TFDS_DATA_DIR=$datasets PYTHONDONTWRITEBYTECODE=$bytecode
  if has grain cv2 PIL; then
    record input-gpu 100 data --images $((${#TINY} ? 64 : 4096)) "${repeats[@]}"
  else
    left_out input-gpu
  fi
}

# training: the whole loop.
training() {
  local -x PYTHONPATH=$packages TFDS_DATA_DIR=$datasets PYTHONDONTWRITEBYTECODE=$bytecode
  if ! has grain tensorboardX || ! says 'from tensorflow_datasets.proto import tf_example_pb2' ||
    ! says 'import importlib.metadata as m; m.version("jaxreid")'; then
    left_out train-gpu
  elif [[ ! -d $TFDS_DATA_DIR/synthetic_reid ]]; then
    echo "== train-gpu: left out: there is no \$TFDS_DATA_DIR/synthetic_reid"
  else
    record train-gpu 120 train --epochs $((${#TINY} ? 1 : 5))
  fi
}

if [[ $TINY ]]; then
  # All that the real one asks for, of the smallest: nothing is to run there for the first time.
  compile=() accelerator=() rehearsal=true
  if command -v "${CXX:-g++}" >/dev/null; then compile=(--torch-compile); fi
  net=(--architecture resnet_patch --size 16x8) batch=(--batch 2) half=(--batch 2)
  steps=(--steps 2 --repeats 1 --no-unfrozen) repeats=(--repeats 1) rank=(--size tiny) large=(--size tiny) gallery=tiny
  rows=(--batch 2) suite=(tests/attacks/test_rules.py) platform=${TEST_PLATFORM:-cpu}
else
  compile=(--torch-compile) accelerator=(--accelerator) rehearsal=false
  net=(--architecture resnet50 --size 256x128) batch=(--batch 128) half=(--batch 256)
  steps=(--repeats 3 --no-unfrozen) repeats=(--repeats 3) rank=(--size market1501) large=(--size msmt17)
  gallery=market1501 rows=(--batch 64) platform=${TEST_PLATFORM:-cuda}
  suite=(tests/attacks/test_named.py tests/attacks/test_pgd.py tests/ranking tests/test_guides.py)
  # Where CUDA does not start, JAX would take the CPU: now it fails.
  export JAX_PLATFORMS="$platform,cpu"
fi

# First part. What each is expected to take on an H100 or H200, before anyone has measured it: 20, 40,
# 130, 110, 30, 65 and 55 s, most of which is importing and compiling.
AGAIN=1 step versions 30 "$PYTHON" benchmarks/versions.py "$OUT/versions.json" "${accelerator[@]}"
if (($? == 2)); then
  exit 2
fi
step golden-attacks-gpu 60 "$PYTHON" benchmarks/golden_attacks.py "$OUT/golden-attacks-gpu.json"
compiled attack-gpu-fna-bfloat16 150 attack --attack fna "${net[@]}" "${half[@]}" "${steps[@]}" --dtype bfloat16
compiled attack-gpu-fna-float32 130 attack --attack fna "${net[@]}" "${batch[@]}" "${steps[@]}"
record ranking-gpu-market1501 50 ranking "${rank[@]}" "${repeats[@]}"
record goat-gpu 80 goat "${net[@]}" "${rows[@]}" "${repeats[@]}" --dtype bfloat16 --few
record worst-query-gpu 70 worst "${net[@]}" "${rows[@]}" "${repeats[@]}" --dtype bfloat16 --gallery "$gallery"

# What is left: 75, 120, 20, 30, 20, 60, 110, 80 and 100 s. Training comes first: the 450 s that the first
# part is expected to take leave it its limit of 120.
training
compiled attack-gpu-sma-bfloat16 140 attack --attack sma "${net[@]}" --auto-batch "${steps[@]}" --dtype bfloat16
record guides-gpu-market1501 30 guides "${rank[@]}" "${repeats[@]}"
record ranking-gpu-msmt17 60 ranking "${large[@]}" --no-argsort "${repeats[@]}"
record guides-gpu-msmt17 30 guides "${large[@]}" "${repeats[@]}"
input
compiled attack-gpu-sma-float32 130 attack --attack sma "${net[@]}" "${batch[@]}" "${steps[@]}"
record attack-gpu-fna-float32-batch 120 attack --attack fna "${net[@]}" --auto-batch "${steps[@]}" --no-rivals
step suite 120 env TEST_PLATFORM="$platform" "$PYTHON" -m pytest -q -p no:cacheprovider \
  --junitxml "$OUT/suite.xml" -m "not slow and not torch" --maxfail=20 "${suite[@]}"
echo "done in $((SECONDS - start)) s, $failed failed"
exit "$failed"
