"""A file system that is really full: a small tmpfs, so that ENOSPC comes from the kernel."""

import os
import subprocess
from pathlib import Path

from .requirements import require_root


class SmallDisk:
    """Mounted at `path` (made if missing) until close()."""

    def __init__(self, path, megabytes):
        require_root()
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "gs-small-disk", self.path], check=True)

    def free_bytes(self):
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave=0):
        """Writes one file that leaves at most this many bytes."""
        with open(self.path / "filler", "wb", 0) as filler:
            size = max(0, self.free_bytes() - leave)
            while size > 0:
                size -= filler.write(b"\0" * min(size, 1 << 20))

    def unfill(self):
        (self.path / "filler").unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
