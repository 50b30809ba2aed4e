#!/usr/bin/env python3
"""Checks the chain of a kmsd audit log with nothing but json and hashlib: numbers, hashes, canonical form, heads that you hold.
usage: independent_check.py DIR [SEQ:HASH]...   exit: 0 the chain holds, 1 it does not (the ranges are printed)"""
import glob, hashlib, json, os, sys

files = glob.glob(os.path.join(sys.argv[1], "audit", "*.jsonl")) or glob.glob(os.path.join(sys.argv[1], "*.jsonl"))
heads = dict(h.split(":") for h in sys.argv[2:])
expected, prev, bad = 0, "0" * 64, []


def complain(first, last, what):
    if bad and bad[-1][2] == what and bad[-1][1] + 1 >= first:
        first = bad.pop()[0]
    bad.append((first, last, what))


for line in (line for path in sorted(files) for line in open(path, "rb")):
    if not line.endswith(b"\n"):
        print("note: an unfinished line of %d bytes" % len(line))
        continue
    try:
        record = json.loads(line)
        seq, named = record["seq"], record["prev"]
        if json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" != line:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        seq, named = expected, prev
        complain(seq, seq, "unreadable or not canonical")
    if seq != expected:
        complain(min(seq, expected), max(seq, expected) - 1, "missing" if seq > expected else "inserted or out of order")
    elif named != prev:
        complain(max(seq - 1, 0), max(seq - 1, 0), "altered")
    expected, prev = seq + 1, hashlib.sha256(line[:-1]).hexdigest()
    if heads.pop(str(seq), prev) != prev:
        complain(seq, seq, "not the record of the head")
for seq in heads:
    complain(int(seq), int(seq), "beyond the end: rolled back")
print("".join("records %d-%d: %s\n" % b for b in bad) + f"{expected} records, last hash {prev}")
sys.exit(1 if bad else 0)
