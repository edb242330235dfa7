#!/bin/bash
# Runs as root when a machine of a pool starts, before its first worker.
set -u

# The machine's own disks, where it has some, hold what workers fetch and write: proving keys, artifacts. All of it can be
# fetched again.
mkdir -p {scratch}
disks=$(lsblk --nodeps --noheadings --output NAME,MODEL | awk '/Instance Storage/ { print "/dev/" $1 }')
count=$(wc -w <<< "$disks")
if [ "$count" -gt 1 ]; then
    mdadm --create /dev/md0 --level 0 --raid-devices "$count" $disks && disks=/dev/md0
fi
if [ "$count" -gt 0 ]; then
    mkfs.xfs -f -q "$disks" && mount -o noatime "$disks" {scratch}
fi
# The worker's user in its image; see batch-jobs/worker/Dockerfile.
chown 10001:10001 {scratch}

# Provers are other people's programs. They reach neither the machine's role nor the job's.
for address in 169.254.169.254 169.254.170.2; do
    iptables -I OUTPUT -m owner --uid-owner 10002 -d "$address" -j REJECT
done
