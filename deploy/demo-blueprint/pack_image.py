#!/usr/bin/env python3
"""Packs directory trees into an image archive: an OCI image layout or the `docker save` form, in one tar file.

It exists because no image registry can be reached from a machine that builds its own blueprints, and because tests need
archives whose every byte is known. The same trees and options give the same bytes: entries are sorted, times are fixed,
and nothing of this machine (names of owners, device numbers, inodes) is written.

What it leaves out on purpose: device nodes, sockets and fifos (a sandbox gets its own /dev), and extended attributes.
One --root is one layer, lowest first. It needs only Python's standard library.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import sys
import tarfile
import tempfile

# 2024-01-01T00:00:00Z: any constant does; SOURCE_DATE_EPOCH overrides it.
DEFAULT_EPOCH = 1704067200
BLOCK = 1024 * 1024
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


class HashingWriter:
    """A file object that counts and hashes what passes through, so that a layer is read only once."""

    def __init__(self, target):
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self._hash.update(data)
        self.size += len(data)
        return self._target.write(data)

    def flush(self):
        self._target.flush()

    @property
    def hex(self):
        return self._hash.hexdigest()


def canonical(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sorted_paths(root):
    """Every path beneath root, relative, parents before children, in byte order whatever the locale."""
    found = []
    for directory, subdirectories, files in os.walk(root):
        for name in subdirectories + files:
            found.append(os.path.relpath(os.path.join(directory, name), root))
    return sorted(found, key=lambda path: path.encode("utf-8", "surrogateescape").split(b"/"))


def write_layer(root, target, epoch, clamp_after):
    """Writes root as a tar. Times of files changed at or after clamp_after become epoch; older ones are kept.

    Keeping package files' own times matters to Python: compiled modules carry the time of their source.
    """
    seen_inodes = {}
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT, bufsize=BLOCK) as tar:
        for path in sorted_paths(root):
            full = os.path.join(root, path)
            status = os.lstat(full)
            kind = stat.S_IFMT(status.st_mode)
            entry = tarfile.TarInfo(path)
            entry.mode = stat.S_IMODE(status.st_mode)
            entry.uid, entry.gid = status.st_uid, status.st_gid
            entry.mtime = epoch if clamp_after is None or status.st_mtime >= clamp_after else int(status.st_mtime)
            if kind == stat.S_IFDIR:
                entry.type = tarfile.DIRTYPE
            elif kind == stat.S_IFLNK:
                entry.type = tarfile.SYMTYPE
                entry.linkname = os.readlink(full)
            elif kind == stat.S_IFREG:
                inode = (status.st_dev, status.st_ino)
                if status.st_nlink > 1 and inode in seen_inodes:
                    entry.type = tarfile.LNKTYPE
                    entry.linkname = seen_inodes[inode]
                else:
                    seen_inodes[inode] = path
                    entry.size = status.st_size
                    with open(full, "rb") as content:
                        tar.addfile(entry, content)
                    continue
            else:
                continue
            tar.addfile(entry)


class Layer:
    """One layer on disk: `path` is the blob as stored (maybe gzip), diff_id is over the uncompressed tar."""

    def __init__(self, root, directory, index, epoch, clamp_after, compress):
        self.path = os.path.join(directory, f"layer{index}")
        with open(self.path, "wb", BLOCK) as raw:
            stored = HashingWriter(raw)
            if compress:
                # mtime=0 and no name, or the gzip header would change with every run.
                with gzip.GzipFile(filename="", fileobj=stored, mode="wb", compresslevel=6, mtime=0) as packed:
                    plain = HashingWriter(packed)
                    write_layer(root, plain, epoch, clamp_after)
            else:
                plain = stored
                write_layer(root, plain, epoch, clamp_after)
        self.diff_hex, self.hex, self.size = plain.hex, stored.hex, stored.size
        self.media_type = LAYER_TYPE + ("+gzip" if compress else "")


def image_config(layers, arguments, created):
    config = {"Env": arguments.env or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    if arguments.working_dir:
        config["WorkingDir"] = arguments.working_dir
    if arguments.user:
        config["User"] = arguments.user
    if arguments.entrypoint:
        config["Entrypoint"] = arguments.entrypoint
    if arguments.cmd:
        config["Cmd"] = arguments.cmd
    return {
        "architecture": arguments.architecture,
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_hex}" for layer in layers]},
        "history": [{"created": created, "created_by": "pack_image.py"} for _ in layers],
    }


class Archive:
    """The outer tar. Nothing in it depends on when or by whom it was written."""

    def __init__(self, target, epoch):
        self._tar = tarfile.open(fileobj=target, mode="w|", format=tarfile.USTAR_FORMAT, bufsize=BLOCK)
        self._epoch = epoch
        self._directories = set()

    def _entry(self, name, mode):
        entry = tarfile.TarInfo(name)
        entry.mode = mode
        entry.mtime = self._epoch
        return entry

    def _ensure_parents(self, name):
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            if directory not in self._directories:
                self._directories.add(directory)
                entry = self._entry(directory, 0o755)
                entry.type = tarfile.DIRTYPE
                self._tar.addfile(entry)

    def add_bytes(self, name, data):
        self._ensure_parents(name)
        entry = self._entry(name, 0o644)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def add_file(self, name, path):
        self._ensure_parents(name)
        entry = self._entry(name, 0o644)
        entry.size = os.path.getsize(path)
        with open(path, "rb") as content:
            self._tar.addfile(entry, content)

    def close(self):
        self._tar.close()


def blob_name(hex_digest):
    return f"blobs/sha256/{hex_digest}"


def write_oci(archive, config_bytes, layers, tag):
    config_hex = hashlib.sha256(config_bytes).hexdigest()
    manifest = canonical({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{config_hex}", "size": len(config_bytes)},
        "layers": [
            {"mediaType": layer.media_type, "digest": f"sha256:{layer.hex}", "size": layer.size} for layer in layers
        ],
    })
    manifest_hex = hashlib.sha256(manifest).hexdigest()
    descriptor = {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{manifest_hex}", "size": len(manifest)}
    if tag:
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": tag}
    archive.add_bytes("oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
    archive.add_bytes("index.json", canonical({"schemaVersion": 2, "manifests": [descriptor]}))
    archive.add_bytes(blob_name(manifest_hex), manifest)
    archive.add_bytes(blob_name(config_hex), config_bytes)
    for layer in {layer.hex: layer for layer in layers}.values():
        archive.add_file(blob_name(layer.hex), layer.path)


def write_docker_save(archive, config_bytes, layers, tag):
    config_name = hashlib.sha256(config_bytes).hexdigest() + ".json"
    names = [f"{layer.diff_hex}/layer.tar" for layer in layers]
    manifest = [{"Config": config_name, "RepoTags": [tag] if tag else None, "Layers": names}]
    archive.add_bytes("manifest.json", canonical(manifest))
    archive.add_bytes(config_name, config_bytes)
    for name, layer in dict(zip(names, layers)).items():
        archive.add_file(name, layer.path)


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", action="append", required=True, metavar="DIR", help="a layer's tree; repeat for more")
    parser.add_argument("--output", required=True, metavar="FILE", help="written under another name, then renamed")
    parser.add_argument("--format", choices=["oci", "docker-save"], default="oci")
    parser.add_argument("--gzip-layers", action="store_true", help="compress the layers (oci only)")
    parser.add_argument("--env", action="append", metavar="K=V")
    parser.add_argument("--working-dir", metavar="DIR")
    parser.add_argument("--user", metavar="USER")
    parser.add_argument("--entrypoint", nargs="+", metavar="ARG")
    parser.add_argument("--cmd", nargs="+", metavar="ARG")
    parser.add_argument("--tag", metavar="NAME:TAG", help="name for `docker load` or the OCI ref annotation")
    parser.add_argument("--architecture", default=ARCHITECTURES.get(platform.machine(), platform.machine()))
    parser.add_argument("--clamp-after", type=float, metavar="SECONDS",
                        help="fix only times at or after this one; without it every time is fixed")
    return parser.parse_args(argv)


def pack(argv):
    """Writes the archive; returns the image id, which is the digest of the image config in both forms."""
    arguments = parse_arguments(argv)
    if arguments.gzip_layers and arguments.format != "oci":
        raise SystemExit("pack_image: --gzip-layers goes with --format oci only")
    for root in arguments.root:
        if not os.path.isdir(root):
            raise SystemExit(f"pack_image: no such directory: {root}")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", DEFAULT_EPOCH))
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    output = os.path.abspath(arguments.output)
    scratch = tempfile.mkdtemp(prefix=".pack-", dir=os.path.dirname(output))
    try:
        layers = [Layer(root, scratch, index, epoch, arguments.clamp_after, arguments.gzip_layers)
                  for index, root in enumerate(arguments.root)]
        config_bytes = canonical(image_config(layers, arguments, created))
        unfinished = os.path.join(scratch, "archive")
        with open(unfinished, "wb", BLOCK) as target:
            archive = Archive(target, epoch)
            write = write_oci if arguments.format == "oci" else write_docker_save
            write(archive, config_bytes, layers, arguments.tag)
            archive.close()
        os.replace(unfinished, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return "sha256:" + hashlib.sha256(config_bytes).hexdigest()


if __name__ == "__main__":
    print(pack(sys.argv[1:]))
