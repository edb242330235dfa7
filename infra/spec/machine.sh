#!/bin/bash
# Runs as root when a machine of a pool starts, before its first worker.
set -u
exec > >(tee /var/log/proofyard-machine.log > /dev/console) 2>&1

# The machine's own disks, where it has some, hold what workers fetch and write: proving keys, artifacts. All of it can be
# fetched again. Without them, that lies on the root disk.
mkdir -p {scratch}
mapfile -t disks < <(lsblk --nodeps --noheadings --output NAME,MODEL | awk '/Instance Storage/ { print "/dev/" $1 }')
{ command -v mdadm && command -v mkfs.xfs; } > /dev/null || dnf install --assumeyes --quiet mdadm xfsprogs
if [ "${#disks[@]}" -gt 1 ]; then
    mdadm --create /dev/md0 --run --level 0 --raid-devices "${#disks[@]}" "${disks[@]}" && disks=(/dev/md0)
fi
if [ "${#disks[@]}" -gt 0 ]; then
    mkfs.xfs -f -q "${disks[0]}" && mount -o noatime "${disks[0]}" {scratch}
fi
# The worker's user in its image; see batch-jobs/worker/Dockerfile.
chown 10001:10001 {scratch}

# Provers and verifiers are other people's programs, and have users of these numbers, one for each slot. They reach neither
# the machine's role nor the job's, whose address the ECS agent redirects to itself before any filter sees it.
prover=(-m owner --uid-owner 50000-59999)
iptables -I OUTPUT "${prover[@]}" -d 169.254.169.254 -j REJECT
iptables -t raw -I OUTPUT "${prover[@]}" -d 169.254.170.2 -j DROP
iptables -I OUTPUT "${prover[@]}" -d 127.0.0.1 -p tcp --dport 51678:51680 -j REJECT
