#!/usr/bin/python3
"""make bench-reader: what searching a log of a million records takes, and what it costs those who sign meanwhile."""
import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import kms  # noqa: E402
from readerprocess import Reader  # noqa: E402

LONGLOG = kms.BUILD / "tests" / "longlog" / "longlog"
LOAD = kms.BUILD / "tests" / "bench" / "load"
ROUNDS = 15          # one turn's p99 says little: it varies by a factor of two from turn to turn
PAUSE = 0.02         # seconds: the rhythm of a process that is as busy as one that searches
SETTLED = 1          # seconds that another process has run before signatures are measured beside it
COMPARED = (("searching_of_alone", "searching_us", "alone_us"), ("python_of_alone", "python_us", "alone_us"), ("python_of_busy", "python_us", "busy_us"))


def questions(instance):
    """What is asked: each filter alone, and combinations that share no record or few."""
    with sorted((instance.dir / "audit").glob("*.jsonl"))[0].open("rb") as segment:
        lines = segment.read(16 << 20).splitlines()[:-1]
    record = next(r for r in map(json.loads, reversed(lines)) if r["event"] == "sign.release" and r["outcome"] == "ok")
    a, app = record["artifact"], f"app={record['artifact']['app']}"
    return {"all, oldest first": "", "all, newest first": "order=desc", "event": "event=sign.release&order=desc", "outcome": "outcome=denied&order=desc",
            "actor": f"actor={record['actor']['name']}", "key": f"key={record['key']['name']}", "app and channel": f"{app}&channel={a['channel']}",
            "version": f"version={a['version']}", "digest": f"digest={record['digest']['hex']}", "request": f"request={record['req'] or '0' * 32}",
            "event and time": f"event=sign.release&since={record['time']}", "two that share nothing": "event=release.withdraw&outcome=denied",
            "two that are common": f"outcome=denied&key={record['key']['name']}", "a name that nobody has": "actor=nobody",
            "lines, half a megabyte": "format=jsonl&limit=1000"}


def following(instance):
    instance.wait(lambda: instance.request("admin", "GET", "/v1/status").json["reader"]["state"] == "following", 600, "the index")


def records_of(answer):
    return len(answer.json["items"]) if answer.type == "application/json" else answer.body.count(b"\n")


def first_pages(instance):
    """Milliseconds of the first page of each question, over one connection: median of several."""
    rows = {}
    with instance.connect("admin") as connection:
        for name, query in questions(instance).items():
            times = []
            for _ in range(7):
                began = time.perf_counter()
                answer = connection.request("GET", f"/v1/audit/records?{query}")
                times.append((time.perf_counter() - began) * 1000)
                assert answer.status == 200, answer
            rows[name] = {"ms": round(statistics.median(times), 2), "ms_worst": round(max(times), 2), "items": records_of(answer)}
            print(f"  {name:<24} {rows[name]['ms']:8.1f} ms   worst of 7 {rows[name]['ms_worst']:8.1f} ms   {rows[name]['items']:4} records", flush=True)
    return rows


def load(instance, door, connections, seconds, *more, warmup=0.5):
    """The load generator, started."""
    host, port = instance.address(door)
    who = {"ci": instance.ci, "admin": instance.admin}[door]
    argv = [LOAD, "--host", host, "--port", port, "--ca", instance.env["KMS_CACERT"], "--cert", who.cert, "--key", who.key, "--connections", connections,
            "--warmup-ms", int(warmup * 1000), "--measure-ms", int(seconds * 1000), *more]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE)


def report_of(process):
    report = json.loads(process.communicate(timeout=600)[0].decode().strip().splitlines()[-1])
    assert report["requests"] and not report["errors"], report  # a p99 of nothing would be a good one
    return report


def sign(instance, connections, seconds):
    return report_of(load(instance, "ci", connections, seconds, "--sign-key", instance.ci_env["KMS_SIGN_KEY"], "--app", f"com.example.b{time.time_ns()}",
                          "--channel", instance.ci_env["KMS_CHANNEL"]))


def beside_searches(instance, connections, seconds):
    """The reports of those who sign, and of a client on one connection that asks question after question without a pause."""
    asked = [f"/v1/audit/records?{query}" for query in questions(instance).values()]
    searching = load(instance, "admin", 1, seconds, *asked, warmup=SETTLED + 0.5)
    time.sleep(SETTLED)
    return sign(instance, connections, seconds), report_of(searching)


def searcher(directory):
    """A process of its own, in Python: question after question until it is ended."""
    return subprocess.Popen([sys.executable, "-B", __file__, "--search", str(directory)], stdout=subprocess.DEVNULL)


def search_for_ever(directory):
    instance = kms.Instance(directory)
    instance.env, instance.ci_env = instance._read_env("env"), instance._read_env("ci.env")
    instance.admin = kms.Client(Path(instance.env["KMS_CERT"]), Path(instance.env["KMS_KEY"]))
    asked = list(questions(instance).values())
    with instance.connect("admin") as connection:
        while True:
            for query in asked:
                connection.request("GET", f"/v1/audit/records?{query}")


def busy(share):
    """A process that asks nothing of anybody and wants that share of a processor, in a searcher's rhythm."""
    text = (f"import time\nbusy = {PAUSE} * {share} / (1 - {share})\nwhile True:\n    until = time.process_time() + busy\n"
            f"    while time.process_time() < until: pass\n    time.sleep({PAUSE})\n")
    return subprocess.Popen([sys.executable, "-c", text])


def processor_share(process, since=(0, 0)):
    """(seconds of processor time, seconds) since; of a process that runs."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9 - since[0], time.monotonic() - since[1]


def beside(instance, other, connections, seconds):
    """The load generator's p99 while another process runs, and that one's part of a processor."""
    try:
        time.sleep(SETTLED)
        since = processor_share(other)
        p99 = sign(instance, connections, seconds)["p99_us"]
        used, passed = processor_share(other, since)
    finally:
        other.kill()
        other.wait()
    return p99, used / passed


def beside_signing(instance, connections, seconds):
    """p99 of signatures, microseconds: alone, beside searches, beside searches of a client in Python, beside a process as busy as that one that does not search."""
    rows = []
    for _ in range(ROUNDS):
        row = {"alone_us": sign(instance, connections, seconds)["p99_us"]}
        signed, searched = beside_searches(instance, connections, seconds)
        row["searching_us"], row["page_p50_us"], row["page_p99_us"] = signed["p99_us"], searched["p50_us"], searched["p99_us"]
        row["pages_per_s"] = round(searched["requests"] / searched["wall_us"] * 1e6)
        row["python_us"], share = beside(instance, searcher(instance.dir), connections, seconds)
        row["busy_us"], _ = beside(instance, busy(share), connections, seconds)
        row["python_share"] = round(share, 3)
        rows.append(row)
        print(f"  {connections} connections: p99 {row['alone_us']} us alone; {row['searching_us']} while searches run, {row['pages_per_s']} pages a second, "
              f"p50 {row['page_p50_us'] / 1000:.1f} ms; {row['python_us']} while a client in Python searches, {row['busy_us']} beside a process as busy as that", flush=True)
    return rows


def compared(rows, one, other):
    """Median against median, and the median of the turns' ratios."""
    return (round(statistics.median(row[one] for row in rows) / statistics.median(row[other] for row in rows), 3),
            round(statistics.median(row[one] / row[other] for row in rows), 3))


def processor_time():
    """Seconds, of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def following_cost(instance, records):
    """Microseconds of processor time a record, of a reader alone that hears of a thousand more each time, as it does of ten thousand a second."""
    head, end = records // 2, records // 2 + records // 10
    with Reader(instance.dir) as reader:
        def used():
            return int(Path(f"/proc/{reader.process.pid}/schedstat").read_text().split()[0]) / 1000

        reader.head(head, 600)
        before = used()
        for step in range(head + 1000, end + 1, 1000):
            reader.head(step)
        return round((used() - before) / (end - head), 2)


def measure(directory, records, seconds):
    instance, report = kms.Instance(Path(directory) / "instance"), {"records": records}
    instance.start()
    instance.stop()
    kms.run(LONGLOG, instance.dir / "audit", records, 50, timeout=1800)
    began, used = time.monotonic(), processor_time()
    kms.run(kms.BIN / "kmsd", "rebuild-index", "--dir", instance.dir, timeout=3600)
    report["rebuild_s"], report["rebuild_cpu_s"] = round(time.monotonic() - began, 1), round(processor_time() - used, 1)
    report["index_bytes"] = (instance.dir / "index/state.db").stat().st_size
    print(f"{records:,} records: index of {report['index_bytes'] / 1e6:.0f} MB made in {report['rebuild_s']} s, {report['rebuild_cpu_s']} s of processor time", flush=True)
    shutil.rmtree(instance.dir / "index")
    report["follow_us"] = following_cost(instance, records)
    print(f"the index of a log that grows: {report['follow_us']} us of processor time a record", flush=True)
    with instance:
        following(instance)
        report["first_page"] = first_pages(instance)
        for connections in (1, 8):
            rows = report[f"signing_{connections}"] = beside_signing(instance, connections, seconds)
            for name, one, other in COMPARED:
                of, of_turns = report[f"p99_{connections}_{name}"] = compared(rows, one, other)
                print(f"  {connections} connections, p99 {name.replace('_', ' ')}: {of:.2f}, median of the turns {of_turns:.2f}", flush=True)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--out", type=Path, default=kms.BUILD / "bench-reader.json")
    parser.add_argument("--search", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.search:
        search_for_ever(given.search)
    with tempfile.TemporaryDirectory(prefix="bench-reader-", dir=kms.BUILD) as directory:
        report = measure(directory, given.records, given.seconds)
    given.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
