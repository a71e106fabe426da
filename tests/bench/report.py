"""Rows of a benchmark, the machine that they were measured on, and how both are shown."""

import json
import os
import platform
import shutil
import statistics
import subprocess
from datetime import datetime, timezone
from pathlib import Path

# What every row has; a measurement may add more ("extra").
MEMBERS = ("name", "ours", "peer", "ratio", "bar", "holds", "n", "unit", "p95_ours", "p95_peer", "peer_name")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def make_row(name, unit, ours, peer=None, peer_name=None, bar=None, **extra):
    """`ours` and `peer` are samples. With a peer the bar is for the ratio of the medians, else for our own median."""
    median_ours = statistics.median(ours)
    median_peer = statistics.median(peer) if peer else None
    ratio = median_ours / median_peer if median_peer else None
    judged = ratio if peer else median_ours
    row = {
        "name": name, "ours": round(median_ours, 4), "peer": round(median_peer, 4) if peer else None,
        "ratio": round(ratio, 4) if ratio else None, "bar": bar, "holds": judged <= bar if bar is not None else None,
        "n": min(len(ours), len(peer)) if peer else len(ours), "unit": unit, "p95_ours": round(percentile(ours, 0.95), 4),
        "p95_peer": round(percentile(peer, 0.95), 4) if peer else None, "peer_name": peer_name}
    if extra:
        row["extra"] = extra
    return row


def problem_of(row, least):
    """None when the row is whole: all members, numbers that can be true, at least that many samples."""
    missing = [member for member in MEMBERS if member not in row]
    if missing:
        return f"lacks {', '.join(missing)}"
    if not row["ours"] > 0 or not row["p95_ours"] >= row["ours"]:
        return f"ours {row['ours']}, p95 {row['p95_ours']} cannot be"
    if (row["peer"] is None) != (row["peer_name"] is None) or (row["peer"] is None) != (row["ratio"] is None):
        return "has half a peer"
    if (row["bar"] is None) != (row["holds"] is None):
        return "has a bar and no verdict"
    if row["n"] < least:
        return f"n is {row['n']}, fewer than {least}"
    return None


# The machine


def _output(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _os_name():
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()


def machine(engine, binaries):
    """Engine: harness DockerEngine. Binaries: ours, by name."""
    version = engine.version()
    info = engine.request("GET", "/info")
    components = {part["Name"].lower(): part["Version"] for part in version.get("Components", [])}
    return {
        "measuredAt": datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "cpuModel": _cpu_model(), "cores": os.cpu_count(),
        "memoryBytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(), "os": _os_name(),
        "dockerd": version["Version"], "containerd": components.get("containerd"), "runc": components.get("runc"),
        "storageDriver": info["Driver"], "cgroup": f"v{info.get('CgroupVersion', '1')} {info['CgroupDriver']}",
        "dockerCli": f"{(_output('docker', '--version') or '?').removeprefix('Docker version ')} ({shutil.which('docker')})",
        "gstacks": {name: _output(str(path), "--version") for name, path in binaries.items()},
        "loadAtStart": os.getloadavg()[0],
    }


# Showing


def _number(value, unit):
    if value is None:
        return "-"
    return f"{value:.2f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def table(rows):
    lines = [("name", "ours", "p95", "peer", "p95", "ratio", "bar", "holds", "n", "beside")]
    for row in rows:
        bar = "-" if row["bar"] is None else (f"{row['bar']:.2f} x" if row["peer"] is not None else _number(row["bar"], row["unit"]))
        lines.append((row["name"], _number(row["ours"], row["unit"]), _number(row["p95_ours"], row["unit"]),
                      _number(row["peer"], row["unit"]), _number(row["p95_peer"], row["unit"]),
                      "-" if row["ratio"] is None else f"{row['ratio']:.3f}", bar,
                      {True: "yes", False: "NO", None: "-"}[row["holds"]], str(row["n"]), row["peer_name"] or ""))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    left = (0, len(widths) - 1)
    return "\n".join("  ".join(cell.ljust(width) if column in left else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def write(path, machine_info, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps({"machine": machine_info, "rows": rows}, indent=2) + "\n")
    unfinished.replace(path)
