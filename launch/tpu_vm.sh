#!/usr/bin/env bash
# Trains or evaluates on Cloud TPU virtual machines; makes the TPU anew and resumes when it was
# preempted.
#
#   launch/tpu_vm.sh NAME WORKDIR CONFIG [OVERRIDES...]       # on your own machine, with gcloud
#   ZONE=us-west4-a TYPE=v5litepod-16 NFS=10.0.0.2:/jaxreid \
#     launch/tpu_vm.sh goat /shared/runs/goat market1501:goat=fna
#   launch/tpu_vm.sh NAME WORKDIR evaluate MODEL [OPTIONS...]
#   ZONE=us-west4-a launch/tpu_vm.sh goat /shared/runs/robust evaluate /shared/runs/goat \
#     --dataset market1501 --data-dir /shared/datasets --attacks fna,worst --eps 5
#
# Likewise attack, audit, certify, ers and transfer: without --out, which is WORKDIR, or for attack
# WORKDIR/images.
#
# What to edit: nothing; these variables change it:
#   ZONE          where the TPU is                                   (needed)
#   TYPE          its accelerator type, such as v5litepod-16         (needed to make one)
#   VERSION       software of its hosts                              [v2-alpha-tpuv5-lite]
#   NFS           HOST:/FOLDER that every host mounts at /shared; leave it empty if what WORKDIR is in
#                 is mounted already. (A bucket mounted by gcsfuse will not do: checkpoints are put
#                 in place by renaming folders.)
#   SOURCE        what pip installs on the hosts                     [this repository, copied]
#   CREATE        more options of `gcloud ... create`                [--spot]
#   FLAGS         LIBTPU_INIT_ARGS of the hosts, see docs/scaling.md [their own]
#   MAX_RESTARTS  restarts after preemption (exit codes 75 and 143)   [10]
#
# WORKDIR, datasets and weights must be in a folder that all hosts share.
#
# Logs: WORKDIR/logs/process-0.log, ...; the terminal shows all of them. To stop and save:
#   gcloud compute tpus tpu-vm ssh NAME --zone ZONE --worker=all --command 'pkill -TERM jaxreid'
# Exit code: that of jaxreid; the TPU is left to you: gcloud compute tpus tpu-vm delete NAME.
set -uo pipefail

if (($# < 3)); then
  echo "usage: ZONE=... $0 NAME WORKDIR CONFIG [OVERRIDES...]" >&2
  echo "       ZONE=... $0 NAME WORKDIR evaluate MODEL [OPTIONS...]" >&2
  exit 2
fi
name=$1 workdir=$2 what=$3
shift 3
case $what in
  attack) words=(attack --out "$workdir/images") ;; # it makes this folder itself
  audit | certify | ers | evaluate | transfer) words=("$what" --out "$workdir") ;;
  *) words=(train --config "$what" --workdir "$workdir") ;;
esac
zone=${ZONE:?names the zone of the TPU}
root=$(cd "$(dirname "$0")/.." && pwd)
max_restarts=${MAX_RESTARTS:-10}

say() { echo "tpu_vm.sh: $(date '+%F %T') $*" >&2; }
tpu() { gcloud compute tpus tpu-vm "$@" --zone "$zone"; }
on_all() { tpu ssh "$name" --worker=all --command "$1"; }
state() { tpu describe "$name" --format 'value(state)' 2>/dev/null; }

make_ready() {
  local now
  now=$(state)
  if [[ $now == READY ]]; then return; fi
  if [[ -n $now ]]; then
    say "$name is $now; deleting it"
    tpu delete "$name" --quiet || return
  fi
  say "making $name"
  # shellcheck disable=SC2086 # CREATE holds several words
  tpu create "$name" --accelerator-type "${TYPE:?names the kind of TPU to make}" \
    --version "${VERSION:-v2-alpha-tpuv5-lite}" ${CREATE---spot}
}

install() {
  local source=${SOURCE:-}
  if [[ -z $source ]]; then
    local archive
    archive=$(mktemp -d)/jaxreid.tar.gz
    git -C "$root" archive --format tar.gz --prefix jaxreid/ --output "$archive" HEAD || return
    tpu scp "$archive" "$name:" --worker=all || return
    on_all "tar -xzf jaxreid.tar.gz" || return
    source=./jaxreid
  fi
  # Images of TPU hosts have had Python 3.10 for long.
  on_all "set -e
    command -v python3.11 >/dev/null || NEEDS=python3.11-venv
    if [ -n '${NFS:-}' ] && ! mountpoint -q /shared; then NEEDS=\"\$NEEDS nfs-common\"; fi
    if [ -n \"\$NEEDS\" ]; then sudo apt-get -q update && sudo apt-get -qy install \$NEEDS; fi
    if [ -n '${NFS:-}' ] && ! mountpoint -q /shared; then
      sudo mkdir -p /shared && sudo mount -t nfs '${NFS:-}' /shared
    fi
    python3.11 -m venv .jaxreid && .jaxreid/bin/pip install --quiet '${source}[tpu]'"
}

# jaxreid on all hosts. gcloud does not hand on what a command on several hosts ended with, so
# every host prints it.
run() {
  local typed output
  printf -v typed '%q ' "${words[@]}" "$@"
  output=$(mktemp)
  on_all "host=\$(curl -sf -H 'Metadata-Flavor: Google' \
      http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number)
    log=$(printf %q "$workdir")/logs/process-\$host.log
    mkdir -p \"\$(dirname \"\$log\")\"
    # Where JAX finds no TPU it stops, and takes no CPU.
    export JAX_PLATFORMS=tpu
    ${FLAGS:+export LIBTPU_INIT_ARGS=$(printf %q "${FLAGS:-}")}
    .jaxreid/bin/jaxreid $typed 2>&1 | tee -a \"\$log\" | sed -u \"s/^/[\$host] /\"
    echo \"jaxreid on host \$host ended with code \${PIPESTATUS[0]}\"" | tee "$output"
  codes=$(sed -n 's/^jaxreid on host .* ended with code \([0-9]*\)$/\1/p' "$output" | sort -nu)
  rm -f "$output"
}

restarts=0
while :; do
  if make_ready && install; then run "$@"; else codes=; fi
  if [[ $codes == 0 ]]; then
    say "done"
    exit 0
  fi
  # 143: SIGTERM came before jaxreid listened, so there was nothing to save.
  if ! grep -qxE '75|143' <<<"$codes" && [[ $(state) == READY ]]; then
    say "stopped with code ${codes//$'\n'/, }; see $workdir/logs"
    exit "$(tail -n 1 <<<"${codes:-1}")"
  fi
  if ((restarts >= max_restarts)); then
    say "preempted again after $restarts restarts; not restarted (MAX_RESTARTS)"
    exit 75
  fi
  restarts=$((restarts + 1))
  say "preempted ($name is $(state || echo gone)); restart $restarts of at most $max_restarts"
  sleep "${PAUSE:-30}"
done
