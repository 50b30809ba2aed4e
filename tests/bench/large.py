#!/usr/bin/python3
"""make bench-large: a log of ten million records. How long a start takes with and without a state snapshot near its end, and how much memory the processes hold."""
import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import kms  # noqa: E402

LONGLOG = kms.BUILD / "tests" / "longlog" / "longlog"
STEP = 500_000  # records that one start reads at most, so that it stays within the time that a development server has to get ready


def pss(instance):
    """KiB that each process holds, shared pages by their share."""
    held = {}
    for pid, argv in instance.children().items():
        name = " ".join([Path(argv[0]).name] + [word for at, word in enumerate(argv) if at and argv[at - 1] in ("--door", "--lane", "--index")])
        rollup = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        held[name] = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return held


def start(instance):
    """Seconds until the service is ready, and what its processes hold then."""
    began = time.monotonic()
    instance.start()
    seconds = time.monotonic() - began
    held = pss(instance)
    instance.stop()
    return seconds, held


def measure(directory, records):
    instance, rows, written = kms.Instance(Path(directory) / "instance"), [], 0
    instance.start()
    instance.stop()
    while written < records:
        more = min(STEP, records - written)
        began = time.monotonic()
        kms.run(LONGLOG, instance.dir / "audit", more, timeout=600)
        made, written = time.monotonic() - began, written + more
        tail, _ = start(instance)
        again, held = start(instance)
        rows.append({"records": written, "made_s": round(made, 1), "start_tail_s": round(tail, 2), "tail": more, "start_snapshot_s": round(again, 2),
                     "pss_kib": held, "log_bytes": sum(file.stat().st_size for file in (instance.dir / "audit").glob("*.jsonl"))})
        print(f"{written:>11,} records, {rows[-1]['log_bytes'] / 1e9:5.2f} GB: start {tail:6.2f} s behind {more:,} new ones, {again:6.2f} s from its snapshot; "
              f"core {held['kmsd-core'] / 1024:.0f} MiB, all {sum(held.values()) / 1024:.0f} MiB", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=kms.BUILD / "bench-large.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-large-", dir=kms.BUILD) as directory:
        rows = measure(directory, given.records)
    given.out.write_text(json.dumps(rows, indent=2) + "\n")
    print(given.out)


if __name__ == "__main__":
    main()
