#!/usr/bin/python3
"""make bench: what the service does in a second beside what its token does without it, in turns within one run; a table, and build/bench.json."""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "system")]
import audit  # noqa: E402
import kms  # noqa: E402
from service import PARTS, Service  # noqa: E402
from table import show  # noqa: E402

RUNS = 2
# How long each measurement lasts, in seconds, at the usual scale.
RAW, SINGLE, MANY, BATCH, FRESH, RSA = 1.5, 3, 4, 3, 4, 4
CONNECTIONS = 64


def share(part, whole):
    return round(part / whole, 3) if part is not None and whole else None


def batches(service):
    """64 items in a request, four requests at a time; None from a service that takes no batches."""
    return service.load(4, BATCH, "--batch", CONNECTIONS) if service.takes("batch") else None


def rsa(service):
    """RSA-4096, where the token does nearly all the work; None from a service that makes no such keys."""
    if not service.key("bench-rsa", "rsa-4096"):
        return None, None
    before = service.raw(RAW, "--pss", key="bench-rsa")
    signed = service.load(CONNECTIONS, RSA, key="bench-rsa")
    return [before, service.raw(RAW, "--pss", key="bench-rsa")], signed


def without_sync(scale):
    """The same service, but nothing waits for the disk: what durability costs. None where the programs load no library before a sanitizer's."""
    if b"__asan_init" in (kms.BIN / "kmsd").read_bytes():
        return None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=kms.BUILD) as directory, Service(directory, scale, "nosync.so") as service:
        return service.load(1, SINGLE), service.load(CONNECTIONS, MANY)


def with_copies(scale):
    """The same with session copies of the key, beside a baseline of its own: single signatures, batches."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=kms.BUILD) as directory, Service(directory, scale) as service:
        key, base = service.copies(), [service.raw(RAW, "--verify")]
        many = service.load(CONNECTIONS, MANY, key=key)
        base.append(service.raw(RAW, "--verify"))
        batch = service.load(4, BATCH, "--batch", CONNECTIONS, key=key)
        base.append(service.raw(RAW, "--verify"))
    return {"many": many, "batch": batch, "base": [one["per_s"] for one in base]}


def one_run(service):
    """Every figure once. The baseline is taken before and after what is held against it, for the machine may have other work."""
    got = {"raw": [], "base": []}
    for measure in ("one", "many", "batch", "fresh"):
        got["raw"].append(service.raw(RAW))
        got["base"].append(service.raw(RAW, "--verify"))
        if measure == "one":
            got["stages"] = service.raw(RAW, "--stages", service.dir, processes=1)
            got["one"] = service.load(1, SINGLE)
        elif measure == "many":
            got["many"] = service.load(CONNECTIONS, MANY)
        elif measure == "batch":
            got["batch"] = batches(service)
        else:
            got["fresh"] = service.load(16, FRESH, "--fresh")
    got["raw"].append(service.raw(RAW))
    got["base"].append(service.raw(RAW, "--verify"))
    got["rsa_raw"], got["rsa"] = rsa(service)
    got["nosync"] = without_sync(service.scale)
    got["copies"] = with_copies(service.scale)
    return got


def figures(got):
    """The figures of one run."""
    raw, base = (statistics.mean(one["per_s"] for one in got[name]) for name in ("raw", "base"))
    many, one, fresh, stages = got["many"], got["one"], got["fresh"], got["stages"]
    near = {name: statistics.mean(got["base"][at + k]["per_s"] for k in (0, 1)) for at, name in ((1, "many"), (2, "batch"))}
    base_cpu = statistics.mean(one["cpu_us"] / max(one["signatures"], 1) for one in got["base"][1:3])
    least = stages["sign_us"] + stages["verify_us"] + stages["fdatasync_us"]
    counted, copies = many["counted"], got["copies"]
    return {
        "raw_sign_per_s": round(raw), "baseline_sign_verify_per_s": round(base),
        "singles_64_per_s": round(many["per_s"]), "singles_64_of_baseline": share(many["per_s"], near["many"]),
        "singles_64_p50_us": many["p50_us"], "singles_64_p99_us": many["p99_us"],
        "batch_64_per_s": round(got["batch"]["per_s"]) if got["batch"] else None,
        "batch_64_of_baseline": share(got["batch"] and got["batch"]["per_s"], near["batch"]),
        "batch_64_cpu_us_by_process": {name: round(got["batch"]["cpu"][name], 1) for name in PARTS} if got["batch"] else None,
        "rsa4096_per_s": round(got["rsa"]["per_s"], 1) if got["rsa"] else None,
        "rsa4096_of_raw": share(got["rsa"] and got["rsa"]["per_s"], got["rsa_raw"] and statistics.mean(one["per_s"] for one in got["rsa_raw"])),
        "p50_1_us": one["p50_us"], "p99_1_us": one["p99_us"], "sign_us": stages["sign_us"], "verify_us": stages["verify_us"],
        "fdatasync_us": stages["fdatasync_us"], "p50_1_of_sum": share(one["p50_us"], least),
        "cpu_us_per_signature_64": round(many["cpu_us"], 1), "cpu_64_of_baseline": share(many["cpu_us"], base_cpu),
        "cpu_us_by_process_64": {name: round(many["cpu"][name], 1) for name in PARTS},
        "cpu_us_load_generator_64": round(many["cpu_us_load"], 1),
        "syncs_per_signature_64": share(counted.get("groups"), many["signatures"]),
        "records_per_group_64": share(counted.get("records"), counted.get("groups")),
        "stages_64_us": {name: counted[name] for name in ("queue", "lane", "sync") if name in counted},
        "copies_singles_64_per_s": round(copies["many"]["per_s"]),
        "copies_singles_64_of_baseline": share(copies["many"]["per_s"], statistics.mean(copies["base"][:2])),
        "copies_batch_64_of_baseline": share(copies["batch"]["per_s"], statistics.mean(copies["base"][1:])),
        "copies_cpu_us_per_signature_64": round(copies["many"]["cpu_us"], 1),
        "copies_cpu_us_by_process_64": {name: round(copies["many"]["cpu"][name], 1) for name in PARTS},
        "nosync_p50_1_us": got["nosync"] and got["nosync"][0]["p50_us"], "nosync_singles_64_per_s": got["nosync"] and round(got["nosync"][1]["per_s"]),
        "newconn_per_s": round(fresh["per_s"]), "newconn_p50_us": fresh["p50_us"], "newconn_cpu_us": round(fresh["cpu_us"]),
        "newconn_share": {name: share(fresh["cpu"][name], fresh["cpu_us"]) for name in PARTS},
        "errors": sum(part["errors"] for part in (many, one, fresh, got["batch"], got["rsa"], copies["many"], copies["batch"]) if part),
    }


def middle(values):
    """The mean of what was measured; None where nothing was."""
    known = [value for value in values if value is not None]
    return round(statistics.mean(known), 3) if known else None


def combine(runs):
    """The mean of the runs, and by how much they differ: (largest - smallest) / mean."""
    mean, spread = {}, {}
    for name in runs[0]:
        values = [run[name] for run in runs if run[name] is not None]
        if values and isinstance(values[0], dict):
            mean[name] = {key: middle([value.get(key) for value in values]) for key in values[0]}
        elif name == "errors":
            mean[name] = sum(values)
        else:
            mean[name] = middle(values)
            spread[name] = round((max(values) - min(values)) / mean[name], 3) if mean[name] else 0.0
    return mean, spread


def machine():
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {"processors": os.cpu_count(), "processor": model[0] if model else "", "kernel": os.uname().release, "load_before": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="how long each measurement lasts beside the usual; a tenth is enough to see that all works")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--out", type=Path, default=kms.BUILD / "bench.json")
    given = parser.parse_args()
    began, result = time.monotonic(), {"version": 1, "machine": machine(), "scale": given.scale}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=kms.BUILD) as directory:
        with Service(directory, given.scale) as service:
            runs = [figures(one_run(service)) for _ in range(given.runs)]
        verified = audit.measure(service.instance.dir)
    mean, spread = combine(runs)
    spread["audit_full_of_sum"] = verified.pop("audit_spread")
    result |= mean | verified | {"spread": spread, "runs": runs, "seconds": round(time.monotonic() - began, 1)}
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    show(result, sys.stdout)
    print(f"\n{given.out}")
    if mean["errors"]:
        sys.exit(f"bench: {mean['errors']} answers were not what was asked for: {service.first_error}")


if __name__ == "__main__":
    main()
