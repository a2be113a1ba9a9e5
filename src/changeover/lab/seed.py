"""What a host finds on its disk at its first boot: files and links over the shared image."""

import io
import tarfile
from pathlib import Path, PurePosixPath


class Seed:
    """A set of files for one host, written as a tar whose owners are names of the host."""

    def __init__(self) -> None:
        self._members: list[tuple[tarfile.TarInfo, bytes]] = []

    def file(self, path: str, content: str | bytes, *, mode: int = 0o644, owner: str = "root") -> None:
        """Add a file; directories on the way are the image's, or root's."""
        data = content.encode() if isinstance(content, str) else content
        info = self._entry(path, mode, owner)
        info.size = len(data)
        self._members.append((info, data))

    def link(self, path: str, target: str, *, owner: str = "root") -> None:
        """Add a symbolic link."""
        info = self._entry(path, 0o777, owner)
        info.type = tarfile.SYMTYPE
        info.linkname = target
        self._members.append((info, b""))

    def directory(self, path: str, *, mode: int = 0o755, owner: str = "root") -> None:
        """Add a directory."""
        info = self._entry(path, mode, owner)
        info.type = tarfile.DIRTYPE
        self._members.append((info, b""))

    def enable(self, unit: str) -> None:
        """Have systemd start a unit at boot."""
        known = f"/etc/systemd/system/{unit}"
        ours = any(f"/{info.name}" == known for info, _ in self._members)
        target = known if ours else f"/lib/systemd/system/{unit}"
        self.link(f"/etc/systemd/system/multi-user.target.wants/{unit}", target)

    def write(self, path: Path) -> None:
        """Write the tar, whole or not at all."""
        partial = path.with_suffix(".partial")
        with tarfile.open(partial, "w") as tar:
            for info, data in self._members:
                tar.addfile(info, io.BytesIO(data))
        partial.rename(path)

    @staticmethod
    def _entry(path: str, mode: int, owner: str) -> tarfile.TarInfo:
        info = tarfile.TarInfo(str(PurePosixPath(path).relative_to("/")))
        info.mode = mode
        info.uname = info.gname = owner
        # The numbers are used only where the name is unknown: then nobody, never root by accident.
        info.uid = info.gid = 0 if owner == "root" else 65534
        return info
