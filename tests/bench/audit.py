#!/usr/bin/python3
"""What kms-audit takes to verify a log, beside its chain alone and OpenSSL alone with the same signatures: processor time of each, in turns."""
import base64
import json
import os
import resource
import shutil
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import kms  # noqa: E402

RECORDS = 50_000  # of the log, from its first one on
ROUNDS = 5


def beginning(log, records):
    """The first records as lines, up to the creation of a second key: all signatures are by the first."""
    lines, signed = [], False
    for segment in sorted((Path(log) / "audit").glob("*.jsonl")):
        for line in segment.read_bytes().splitlines():
            record = json.loads(line)
            if len(lines) == records or (signed and record["event"] == "key.create"):
                return lines
            signed = signed or record["event"] == "sign.release"
            lines.append(line)
    return lines


def payload(record, instance):
    """The statement, as docs/log-format.md says."""
    detail, artifact = record["detail"], record["artifact"]
    predicate = {name: artifact[name] for name in ("app", "channel", "version")} | {name: detail[name] for name in ("environment", "issued", "log_head", "name")}
    predicate |= {"instance": instance, "key": record["key"], "request_id": record["req"]} | {name: detail[name] for name in ("size",) if name in detail}
    predicate |= {name: record[name] for name in ("source_claimed",) if name in record}
    return kms.canonical({"_type": "https://in-toto.io/Statement/v1", "predicate": predicate, "predicateType": "https://kmsd.dev/release/v1",
                          "subject": [{"digest": {"sha256": record["digest"]["hex"]}, "name": detail["name"]}]})


def signatures(lines):
    """(public key, [(signed bytes, signature) …])."""
    records = [json.loads(line) for line in lines]
    instance, spki, pairs = records[0]["detail"]["instance"], None, []
    for record in records:
        if record["event"] == "key.create" and record["outcome"] == "ok":
            spki = base64.b64decode(record["detail"]["spki_b64"])
        if record["event"] == "sign.release" and record["outcome"] == "ok":
            text = payload(record, instance)
            pairs.append((b"DSSEv1 28 application/vnd.in-toto+json %d " % len(text) + text, base64.b64decode(record["signature"])))
    return spki, pairs


def cost(*argv):
    """(seconds of processor time, seconds by the clock)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    said = kms.run(*argv, timeout=600).stdout
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall, said


def measure(log, rounds=ROUNDS, records=RECORDS):
    """Figures of the beginning of that log."""
    with tempfile.TemporaryDirectory(prefix="bench-audit-", dir=kms.BUILD) as directory:
        lines, folder, pairs_file = beginning(log, records), Path(directory), Path(directory) / "signatures"
        (folder / "audit").mkdir()
        (folder / "audit" / f"{0:020}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
        shutil.copytree(Path(log) / "audit" / "blobs", folder / "audit" / "blobs")
        spki, pairs = signatures(lines)
        pairs_file.write_bytes(b"".join(struct.pack(">I", len(part)) + part for part in (spki, *(part for pair in pairs for part in pair))))
        got = {"full": [], "chain": [], "raw": []}
        for _ in range(rounds):
            got["raw"].append(cost(kms.BUILD / "tests" / "bench" / "verify", pairs_file, min(os.cpu_count(), 64)))
            got["chain"].append(cost(kms.BIN / "kms-audit", "verify", folder, "--chain-only"))
            got["full"].append(cost(kms.BIN / "kms-audit", "verify", folder, "--output", "json"))
    if any(json.loads(said)["signatures"] != len(pairs) for _, _, said in got["full"]):
        raise SystemExit("bench: kms-audit did not verify every signature of the log")
    ratios = [full[0] / (chain[0] + raw[0]) for full, chain, raw in zip(got["full"], got["chain"], got["raw"])]
    each = {name: statistics.median(one[0] for one in rows) / len(pairs) * 1e6 for name, rows in got.items()}
    return {"audit_full_of_sum": round(statistics.median(ratios), 3), "audit_signatures": len(pairs), "audit_full_us": round(each["full"], 1),
            "audit_chain_us": round(each["chain"], 1), "audit_raw_us": round(each["raw"], 1),
            "audit_processors": round(statistics.median(full[0] / full[1] for full in got["full"]), 2),
            "audit_spread": round((max(ratios) - min(ratios)) / statistics.mean(ratios), 3)}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1]), indent=2))
