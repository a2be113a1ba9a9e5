# The world of one lab: a mount, network and PID namespace that holds its bridge. It runs as PID 1 of that PID
# namespace, so that the end of this process is the end of everything in the lab.
# Arguments: the bridge's address with prefix length.
set -eu
mount -t proc proc /proc
ip link set lo up
ip link add br0 type bridge forward_delay 0
ip address add "$1" dev br0
ip link set br0 up
echo ready
# SIGCHLD ignored: the kernel reaps the orphans of hosts that lost their power.
exec env --ignore-signal=CHLD sleep infinity </dev/null >/dev/null 2>&1
