"""Files into and out of a sandbox, by `gstacks sandbox cp` beside `docker cp` of the same files and the same container."""

import os
import shutil

from bench_sandboxes import RESOURCES, in_turn, seconds_of
from clients import spawn
from report import make_row

ROWS = {"copy_in_64_mib", "copy_out_64_mib", "copy_in_5000_files", "copy_out_5000_files"}
MIB = 1 << 20
BAR = 0.5  # twice the throughput


def measure(bench):
    stack = bench.stack
    cli = stack.cli()
    sandbox = stack.api.create_sandbox("busybox", name="bench-files", resources={**RESOURCES, "memoryBytes": 512 * MIB})
    container = f"gstacks-{sandbox['id']}"
    place = stack.directory / "copies"
    (place / "many").mkdir(parents=True)
    (place / "one").write_bytes(os.urandom(64 * MIB))
    for number in range(5000):
        (place / "many" / f"file-{number}").write_bytes(os.urandom(4096))
    sources = {"64_mib": place / "one", "5000_files": place / "many"}
    names = iter(range(1 << 30))

    def ours(source, target):
        spawn([cli.binary, "--quiet", "--config-file", cli.config_file, "sandbox", "cp", source, target])

    def docker(source, target):
        spawn(["docker", "cp", "--quiet", source, target])

    def copy_in(copy, prefix, source):
        target = f"/in-{next(names)}"
        seconds = seconds_of(lambda: copy(source, f"{prefix}:{target}"))
        stack.api.exec(sandbox, ["rm", "-rf", target]).check()
        return seconds

    def copy_out(copy, prefix, source):
        target = place / f"out-{next(names)}"
        seconds = seconds_of(lambda: copy(f"{prefix}:{source}", target))
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        return seconds

    ends = {"ours": (ours, "bench-files"), "docker": (docker, container)}
    rounds = bench.rounds(30)
    try:
        for what, source in sources.items():
            inside = f"/{what}"
            ours(source, f"bench-files:{inside}")
            size = sum(one.stat().st_size for one in ([source] if source.is_file() else source.iterdir()))
            for direction, copy, where in (("in", copy_in, source), ("out", copy_out, inside)):
                samples = in_turn({name: lambda end=end: copy(*end, where) for name, end in ends.items()}, rounds, bench.warm_up)
                middle = sorted(samples["ours"])[len(samples["ours"]) // 2]
                yield make_row(f"copy_{direction}_{what}", "s", samples["ours"], samples["docker"], "docker cp", BAR,
                               mib_per_second=round(size / MIB / middle, 1))
    finally:
        stack.api.delete_sandbox(sandbox["id"])
        shutil.rmtree(place)
