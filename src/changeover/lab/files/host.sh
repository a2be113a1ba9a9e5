# Boots one host: runs in the lab's namespaces, in namespaces of the host's own, and becomes systemd.
# Arguments: name, address with prefix length, MAC address, image, directory of the host, directory of the releases.
set -eu
name=$1 address=$2 mac=$3 image=$4 dir=$5 releases=$6
root=$dir/root

hostname "$name"
# /proc still shows the lab's PIDs, where 1 is the keeper; "netns 1" is resolved in our own PID namespace and is us.
nsenter --net=/proc/1/ns/net ip link add "$name" master br0 type veth peer name eth0 address "$mac" netns 1
nsenter --net=/proc/1/ns/net ip link set "$name" up
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up

mkdir -p "$dir/disk" "$root"
mount -o loop "$dir/disk.img" "$dir/disk"
mkdir -p "$dir/disk/upper" "$dir/disk/work"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$dir/disk/upper,workdir=$dir/disk/work" "$root"
if [ ! -e "$root/etc/machine-id" ]; then
    chroot "$root" tar -xpf - -C / <"$dir/seed.tar"
fi

mount --bind "$releases" "$root/srv/releases"
mount -o remount,bind,ro "$root/srv/releases"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,rw "$root/proc/sys/net"
if [ -e "$root/proc/sysrq-trigger" ]; then
    mount --bind "$root/proc/sysrq-trigger" "$root/proc/sysrq-trigger"
    mount -o remount,bind,ro "$root/proc/sysrq-trigger"
fi
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs "$root/run"

cd "$root"
pivot_root . .
umount -l .
cd /
# The machine's clock, modules and kernel log are not namespaced: without these capabilities a host cannot touch them.
drop=-sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=changeover-lab \
    setpriv --bounding-set "$drop" --inh-caps "$drop" /lib/systemd/systemd --show-status=false
