#!/usr/bin/env bash
# A Slurm cluster of two nodes on this machine, n1 and n2; each can lose its power.
#
#   unshare --net --uts --pid --mount --fork --kill-child --mount-proc two_nodes.sh FOLDER
#
# A node has a network, a name and processes of its own; they and the controller share one bridge.
# Reads from standard input what happens: `start n1`, `kill n1`, one a line. At its end all is gone.
set -euo pipefail
folder=$1
mkdir -p "$folder"/{state,spool-n1,spool-n2}
ip link set lo up
ip link add bridge type bridge
ip addr add 10.77.0.1/24 dev bridge
ip link set bridge up
hostname control
printf '127.0.0.1 localhost\n10.77.0.1 control\n10.77.0.11 n1\n10.77.0.12 n2\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts

head -c 128 /dev/urandom >"$folder/munge.key"
chmod 600 "$folder/munge.key"
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" \
  --seed-file="$folder/munge.seed" --pid-file="$folder/munge.pid" --log-file="$folder/munge.log"

cat >"$folder/slurm.conf" <<CONF
ClusterName=two
SlurmctldHost=control(10.77.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/none
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
KillWait=5
NodeName=n1 NodeAddr=10.77.0.11 CPUs=1
NodeName=n2 NodeAddr=10.77.0.12 CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES
CONF
export SLURM_CONF=$folder/slurm.conf
slurmctld

declare -A pids
start() {
  local node=$1
  # Waits, before it is a node, until it has been given its network.
  # shellcheck disable=SC2016 # the inner shell expands them
  unshare --net --uts --pid --mount --fork --kill-child --mount-proc bash -c '
    until ip link show eth0 &>/dev/null; do sleep 0.1; done
    ip link set lo up
    ip addr add "10.77.0.1${1#n}/24" dev eth0
    ip link set eth0 up
    hostname "$1"
    exec slurmd -D -N "$1"' - "$node" >"$folder/$node.out" 2>&1 </dev/null &
  pids[$node]=$!
  # Until then it is still in this network, and the link would be made here.
  until [[ $(readlink "/proc/${pids[$node]}/ns/net") != $(readlink /proc/self/ns/net) ]]; do
    sleep 0.1
  done
  ip link add "to-$node" type veth peer name eth0 netns "${pids[$node]}"
  ip link set "to-$node" master bridge up
}

start n1
start n2
while read -r what node; do
  case $what in
    start) start "$node" ;;
    kill)
      kill -KILL "${pids[$node]}"
      wait "${pids[$node]}" || true
      ip link delete "to-$node" 2>/dev/null || true # the kernel may have been quicker
      ;;
  esac
done
