#!/usr/bin/env bash
# Trains or evaluates with several processes on this machine, restarts them after preemption, stops
# all if one dies.
#
#   launch/local.sh PROCESSES WORKDIR CONFIG [OVERRIDES...]
#   launch/local.sh PROCESSES WORKDIR evaluate MODEL [OPTIONS...]
#   launch/local.sh 2 runs/first synthetic --config.epochs=3
#   launch/local.sh 2 runs/robust evaluate runs/first --dataset synthetic_reid
#   DEVICES=2 launch/local.sh 2 runs/first synthetic     # 2 processes x 2 forced CPU devices
#
# On a machine with GPUs or TPUs one process drives them all: PROCESSES is 1 there.
#
# Likewise attack, audit, certify, ers and transfer: without --out, which is WORKDIR, or for attack
# WORKDIR/images.
#
# What to edit: nothing; these variables change it:
#   JAXREID       the program                                        [jaxreid]
#   DEVICES       CPU devices per process; forces JAX onto the CPU   [JAX's own choice]
#   MAX_RESTARTS  restarts after preemption (exit codes 75 and 143)   [10]
#   GRACE         seconds from SIGTERM to SIGKILL                    [60]
#
# SIGTERM or Ctrl-C stops all processes, which save first. What a shell without job control starts
# with `&` never hears Ctrl-C (SIGINT), this script included: send it SIGTERM.
#
# Logs: WORKDIR/logs/process-0.log, ...; the terminal shows all of them, each line with its process.
# Exit code: 0 if all processes are done, else that of the first one that was not; see README.md.
set -uo pipefail

if (($# < 3)) || [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 PROCESSES WORKDIR CONFIG [OVERRIDES...]" >&2
  echo "       $0 PROCESSES WORKDIR evaluate MODEL [OPTIONS...]" >&2
  exit 2
fi
processes=$1 workdir=$2 what=$3
shift 3
case $what in
  attack) words=(attack --out "$workdir/images") ;; # it makes this folder itself
  audit | certify | ers | evaluate | transfer) words=("$what" --out "$workdir") ;;
  *) words=(train --config "$what" --workdir "$workdir") ;;
esac
program=${JAXREID:-jaxreid}
if ! command -v "$program" >/dev/null; then
  echo "local.sh: no program $program; install jaxreid or name it in the variable JAXREID" >&2
  exit 2
fi
max_restarts=${MAX_RESTARTS:-10}
grace=${GRACE:-60}
mkdir -p "$workdir/logs" || exit 2
if [[ -n ${DEVICES:-} ]]; then
  export JAX_PLATFORMS=cpu
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$DEVICES"
fi

pids=()     # of processes that run; "" for those that have ended
asked=()    # of these, those that were asked to stop
terminate=  # set when this script was asked to stop

say() { echo "local.sh: $*" >&2; }

kill_all() {
  local pid
  for pid in "${pids[@]}"; do
    if [[ -n $pid ]]; then kill -s KILL "$pid" 2>/dev/null; fi
  done
}

# Never twice: a second SIGTERM would end a process that is saving.
ask_all() {
  local process
  for process in "${!pids[@]}"; do
    if [[ -n ${pids[process]} && -z ${asked[process]:-} ]]; then
      asked[process]=1
      kill -s TERM "${pids[process]}" 2>/dev/null
    fi
  done
}

# A port that nobody listens on; below those that Linux gives to outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

start_all() {
  local process log port
  port=$(free_port)
  pids=() asked=()
  for ((process = 0; process < processes; process++)); do
    if [[ -n $terminate ]]; then return; fi
    log=$workdir/logs/process-$process.log
    if ((processes > 1)); then
      export JAXREID_COORDINATOR=127.0.0.1:$port
      export JAXREID_PROCESSES=$processes JAXREID_PROCESS=$process
    fi
    "$program" "${words[@]}" "$@" \
      > >(trap '' INT TERM; tee -a "$log" | sed -u "s/^/[$process] /") 2>&1 &
    pids+=($!)
  done
}

# Sets `code` to that of the first process that failed, and stops the others; 0 if none did.
# Several that ended at once: 75 counts, for the others may have failed because that one left.
wait_all() {
  local process pid status running=1 deadline=0
  code=0
  while ((running)); do
    # One that was just being started when this script was asked to stop.
    if [[ -n $terminate ]]; then ask_all; fi
    sleep 0.2
    running=0
    local ended=()
    for process in "${!pids[@]}"; do
      pid=${pids[process]}
      if [[ -z $pid ]]; then continue; fi
      if kill -0 "$pid" 2>/dev/null; then
        running=1
        continue
      fi
      wait "$pid"
      status=$?
      pids[process]=
      if ((status)); then ended+=("$status"); fi
      if ((status && !code)); then say "process $process ended with code $status"; fi
    done
    if ((${#ended[@]} && !code)); then
      code=${ended[0]}
      if [[ " ${ended[*]} " == *" 75 "* ]]; then code=75; fi
      # Never to processes that were preempted: a second SIGTERM would end one that is saving.
      if ((running && code != 75)) && [[ -z $terminate ]]; then
        say "stopping the others"
        ask_all
      fi
    fi
    if ((running && !deadline)) && [[ -n $terminate || $code != 0 ]]; then
      deadline=$((SECONDS + grace))
    fi
    if ((deadline && running && SECONDS >= deadline)); then
      say "killing what did not stop within $grace s"
      kill_all
      deadline=$((SECONDS + grace))
    fi
  done
}

# shellcheck disable=SC2317 # the traps call it
forward() {
  if [[ -z $terminate ]]; then
    terminate=1
    say "got SIG$1; passing SIGTERM on to all processes"
    ask_all
  fi
}
trap 'forward TERM' TERM
trap 'forward INT' INT

restarts=0
while :; do
  start_all "$@"
  wait_all
  # 143: SIGTERM came before jaxreid listened, so there was nothing to save.
  if ((code != 75 && code != 143)) || [[ -n $terminate ]]; then break; fi
  if ((restarts >= max_restarts)); then
    say "preempted again after $restarts restarts; not restarted (MAX_RESTARTS)"
    break
  fi
  restarts=$((restarts + 1))
  say "preempted; restart $restarts of at most $max_restarts resumes in $workdir"
done
((code == 0)) || say "stopped with code $code; see $workdir/logs"
exit "$code"
