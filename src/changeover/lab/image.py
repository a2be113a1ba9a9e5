"""The Debian root that every host of the lab shares, built once and kept in the cache."""

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from changeover.lab.errors import LabError
from changeover.lab.lock import wait_for
from changeover.lab.paths import cache_dir

SUITE = "bookworm"

PACKAGES = (
    "ca-certificates",
    "curl",
    "dbus",
    "haproxy",
    "iproute2",
    "iputils-ping",
    "less",
    "libpam-modules",
    "mariadb-server",
    "nftables",
    "openssh-client",
    "openssh-server",
    "postgresql-15",
    "procps",
    "psmisc",
    "python3",
    "python3-psycopg",
    "python3-pymysql",
    "python3-venv",
    "rsync",
    "socat",
    "sudo",
    "systemd",
    "systemd-sysv",
    "zstd",
)

# Services start only on the hosts whose role enables them. systemd-logind and the ask-password paths go because a
# machine allows 128 inotify instances for root, and each host would otherwise hold six or seven of them.
CUSTOMIZE = """\
set -eu
root="$1"
in_root() { chroot "$root" "$@"; }
for unit in ssh haproxy postgresql mariadb nftables rsync e2scrub_reap; do
    in_root systemctl disable "$unit.service" >/dev/null 2>&1 || :
done
in_root systemctl mask --quiet \\
    systemd-ask-password-console.path systemd-ask-password-wall.path systemd-logind.service \\
    systemd-timesyncd.service systemd-sysctl.service systemd-udevd.service systemd-modules-load.service \\
    systemd-binfmt.service systemd-firstboot.service systemd-update-utmp.service getty.target \\
    console-getty.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \\
    sys-fs-fuse-connections.mount sys-kernel-config.mount proc-sys-fs-binfmt_misc.automount \\
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \\
    systemd-tmpfiles-clean.timer logrotate.timer man-db.timer remote-fs.target
in_root groupadd --system haproxy-admin
in_root useradd --system --home-dir /opt/app --shell /usr/sbin/nologin app
in_root useradd --create-home --shell /bin/bash --groups haproxy-admin,systemd-journal deploy
in_root useradd --create-home --shell /bin/bash --groups haproxy-admin,systemd-journal guarded
printf 'deploy ALL=(ALL) NOPASSWD: ALL\\nguarded ALL=(ALL) ALL\\n' > "$root/etc/sudoers.d/lab"
chmod 0440 "$root/etc/sudoers.d/lab"
printf 'MaxStartups 200\\nPrintMotd no\\n' > "$root/etc/ssh/sshd_config.d/lab.conf"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/etc/resolv.conf"
: > "$root/etc/resolv.conf"
mkdir -p "$root/srv/releases" "$root/opt/app/releases" "$root/etc/app"
"""


def digest(further: Sequence[str] = ()) -> str:
    """Return the digest of the recipe: an image is built anew when what goes into it changes."""
    recipe = "\n".join((SUITE, *PACKAGES, *further, CUSTOMIZE))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def image_path(further: Sequence[str] = ()) -> Path:
    """Return where the image with further packages is, or will be."""
    return cache_dir() / f"image-{SUITE}-{digest(further)}"


def build_command(
    target: Path, hook: Path, apt_options: Sequence[str] = (), further: Sequence[str] = ()
) -> list[str]:
    """Return the command that makes the image in `target`, with further lines of apt.conf(5) and further packages."""
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        "--skip=check/empty",
        f"--include={','.join((*PACKAGES, *further))}",
        "--aptopt=Acquire::Languages none",
        "--aptopt=Acquire::Check-Valid-Until false",
        *(f"--aptopt={option}" for option in apt_options),
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        f'--customize-hook=sh {shlex.quote(str(hook))} "$1"',
        SUITE,
        str(target),
    ]


def ensure_image(say: Callable[[str], None] = lambda _: None, further: Sequence[str] = ()) -> Path:
    """Return the image with further packages, building it when the cache has none; `say` is told before the minute that takes.

    It is built beside its place and renamed, so that an interrupted build leaves only a directory that the next
    build removes.

    Raises:
        LabError: mmdebstrap failed; the error carries the end of its output.
    """
    image = image_path(further)
    if image.exists():
        return image
    with wait_for(image.with_suffix(".lock")):
        if image.exists():
            return image
        say(f"building the image of the hosts in {image} (once; a minute or two)")
        _build(image, further)
    return image


def _build(image: Path, further: Sequence[str]) -> None:
    partial = image.with_suffix(".partial")
    hook = image.with_suffix(".hook")
    _remove(partial)
    hook.write_text(CUSTOMIZE)
    # mmdebstrap reads HOME and TMPDIR; the locale must exist in the image as well as here.
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    # In namespaces of its own: with the end of this command everything that it has started or mounted ends.
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*alone, *build_command(partial, hook, _apt_transport(), further)]
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except BaseException:
        _remove(partial)
        hook.unlink()
        raise
    if done.returncode:
        _remove(partial)
        tail = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise LabError(f"mmdebstrap could not build the image:\n{tail}", hint="is Debian's mirror reachable?")
    partial.rename(image)
    hook.unlink()


def _apt_transport() -> list[str]:
    """Return how this machine's apt reaches its mirrors, proxies and certificates; mmdebstrap starts without."""
    dump = ["apt-config", "dump", "Acquire::http", "Acquire::https"]
    lines = subprocess.run(dump, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if not line.endswith(' "";')]


def _remove(partial: Path) -> None:
    """Remove an unfinished root; a build killed half-way may have left mounts inside it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([m for m in mounts if m.startswith(f"{partial}/")]):
        subprocess.run(["umount", "--lazy", mount], check=True)
    if partial.exists():
        shutil.rmtree(partial)
