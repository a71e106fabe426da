"""Upload of a large archive beside `docker load` and `sha256sum` of the same file."""

import hashlib
import io
import json
import os
import tarfile
import time

from bench_sandboxes import in_turn, seconds_of
from clients import spawn
from harness.waiting import hold
from report import make_row

ROWS = {"upload_512_mib", "upload_512_mib_vs_sha256sum", "server_rss_peak_upload"}
MIB = 1 << 20
PIECE = 8 * MIB


class Archive:
    """A docker-save archive with one incompressible layer, which is another one each time it is written."""

    def __init__(self, directory, megabytes):
        self.path = directory / "upload.tar"
        self.size = megabytes * MIB
        self.tag = f"gs-bench-{os.getpid()}:upload"
        self._noise = os.urandom(PIECE)

    def _pieces(self, seed):
        """One file in a tar: the same noise, moved by a few bytes, and a first piece of its own."""
        header = tarfile.TarInfo("noise")
        header.size = self.size
        yield header.tobuf(tarfile.USTAR_FORMAT)
        for number in range(self.size // PIECE):
            shift = (seed * 131 + number * 17) % PIECE
            yield self._noise[shift:] + self._noise[:shift]
        yield bytes(2 * tarfile.BLOCKSIZE)

    def write(self, seed):
        diff_id = hashlib.sha256()
        layer_size = 0
        for piece in self._pieces(seed):
            diff_id.update(piece)
            layer_size += len(piece)
        config = json.dumps({"architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id.hexdigest()}"]}}).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = json.dumps([{"Config": config_name, "RepoTags": [self.tag], "Layers": ["layer/layer.tar"]}]).encode()
        with open(self.path, "wb") as out:
            for name, data in (("manifest.json", manifest), (config_name, config)):
                header = tarfile.TarInfo(name)
                header.size = len(data)
                with tarfile.open(fileobj=(one := io.BytesIO()), mode="w", format=tarfile.USTAR_FORMAT) as tar:
                    tar.addfile(header, io.BytesIO(data))
                out.write(one.getvalue()[:tarfile.BLOCKSIZE * (1 + -(-len(data) // tarfile.BLOCKSIZE))])
            header = tarfile.TarInfo("layer/layer.tar")
            header.size = layer_size
            out.write(header.tobuf(tarfile.USTAR_FORMAT))
            for piece in self._pieces(seed):
                out.write(piece)
            out.write(bytes(2 * tarfile.BLOCKSIZE))
            out.flush()
            os.fsync(out.fileno())  # or its write-back would be measured with whoever comes first


def peak_rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as clear:
        clear.write("5")


def measure(bench):
    stack = bench.stack
    # Each round moves half a gigabyte three times: a slow machine stops early rather than taking half an hour.
    rounds, megabytes = (2, 32) if bench.quick else (30, 512)
    archive = Archive(stack.directory, megabytes)
    cli = stack.cli()
    server = stack.server.process.pid
    peaks = []

    def ours():
        forget_peak(server)
        seconds = seconds_of(lambda: spawn(
            [cli.binary, "--config-file", cli.config_file, "--timeout", "5m", "blueprint", "create", "upload", "--archive", archive.path]))
        peaks.append(peak_rss(server) / MIB)
        return seconds

    def docker_load():
        return seconds_of(lambda: spawn(["docker", "load", "--quiet", "--input", archive.path]))

    def hash_it():
        return seconds_of(lambda: spawn(["sha256sum", archive.path]))

    samples = {"ours": [], "docker": [], "hash": []}
    started = time.monotonic()
    for number in range(rounds + 1):
        archive.write(number)
        try:
            for name, values in in_turn({"ours": ours, "docker": docker_load, "hash": hash_it}, 1, 0).items():
                if number > 0:  # the first is the warm-up
                    samples[name] += values
        finally:
            stack.engine.remove_image(archive.tag)
            found = next((one for one in stack.api.list_all("/api/blueprints") if one["name"] == "upload"), None)
            if found:
                stack.api.delete(f"/api/blueprints/{found['id']}")
        hold(0 if bench.quick else 1)  # removed layers are written back
        if time.monotonic() - started > 300 and number >= 3:
            break
    archive.path.unlink()
    suffix = {"megabytes": megabytes, "mib_per_second": round(megabytes / sorted(samples["ours"])[len(samples["ours"]) // 2], 1)}
    yield make_row("upload_512_mib", "s", samples["ours"], samples["docker"], "docker load", **suffix)
    yield make_row("upload_512_mib_vs_sha256sum", "s", samples["ours"], samples["hash"], "sha256sum")
    yield make_row("server_rss_peak_upload", "MiB", peaks[1:], megabytes=megabytes)
