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
PAUSE = 0.01  # seconds between two questions of the searcher


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
            "two that are common": f"outcome=denied&key={record['key']['name']}", "a name that nobody has": "actor=nobody"}


def following(instance):
    instance.wait(lambda: instance.request("admin", "GET", "/v1/status").json["reader"]["state"] == "following", 600, "the index")


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
            rows[name] = {"ms": round(statistics.median(times), 2), "ms_worst": round(max(times), 2), "items": len(answer.json["items"])}
            print(f"  {name:<24} {rows[name]['ms']:8.1f} ms   worst of 7 {rows[name]['ms_worst']:8.1f} ms   {rows[name]['items']:4} records", flush=True)
    return rows


def sign(instance, connections, seconds):
    """The load generator's report."""
    host, port = instance.address("ci")
    done = kms.run(LOAD, "--host", host, "--port", port, "--ca", instance.env["KMS_CACERT"], "--cert", instance.ci.cert, "--key", instance.ci.key,
                   "--connections", connections, "--sign-key", instance.ci_env["KMS_SIGN_KEY"], "--app", f"com.example.b{time.time_ns()}",
                   "--channel", instance.ci_env["KMS_CHANNEL"], "--measure-ms", int(seconds * 1000), timeout=seconds + 60)
    report = json.loads(done.stdout.decode().strip().splitlines()[-1])
    assert report["signatures"] and not report["errors"], report  # a p99 of nothing would be a good one
    return report


def searcher(directory):
    """A process of its own: question after question until it is ended."""
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
                time.sleep(PAUSE)


def busy(share):
    """A process that asks nothing of anybody and wants that share of a processor, in the searcher's rhythm."""
    text = (f"import time\nbusy = {PAUSE} * {share} / (1 - {share})\nwhile True:\n    until = time.process_time() + busy\n"
            f"    while time.process_time() < until: pass\n    time.sleep({PAUSE})\n")
    return subprocess.Popen([sys.executable, "-c", text])


def processor_share(process, since=(0, 0)):
    """(seconds of processor time, seconds) since; of a process that runs."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9 - since[0], time.monotonic() - since[1]


def beside(instance, other, connections, seconds):
    """The load generator's p99 while another process runs, and that one's part of a processor."""
    try:
        time.sleep(2)
        since = processor_share(other)
        p99 = sign(instance, connections, seconds)["p99_us"]
        used, passed = processor_share(other, since)
    finally:
        other.kill()
        other.wait()
    return p99, used / passed


def beside_signing(instance, connections, seconds):
    rows = []
    for _ in range(ROUNDS):
        alone = sign(instance, connections, seconds)["p99_us"]
        searching, share = beside(instance, searcher(instance.dir), connections, seconds)
        control, _ = beside(instance, busy(share), connections, seconds)
        rows.append({"p99_alone_us": alone, "p99_searching_us": searching, "p99_busy_us": control, "searcher_share": round(share, 3),
                     "ratio": round(searching / alone, 3), "ratio_of_busy": round(searching / control, 3)})
        print(f"  {connections} connections: p99 {alone} us alone, {searching} us while searches run, {control} us beside a process as busy that does not search: "
              f"{rows[-1]['ratio']:.2f}, {rows[-1]['ratio_of_busy']:.2f}", flush=True)
    return rows


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
            alone, searching, control = (statistics.median(row[f"p99_{name}_us"] for row in rows) for name in ("alone", "searching", "busy"))
            report[f"p99_{connections}_of_alone"], report[f"p99_{connections}_of_busy"] = round(searching / alone, 3), round(searching / control, 3)
            print(f"  {connections} connections, median p99 while searches run: {searching / alone:.2f} of that alone, {searching / control:.2f} of that beside the other process",
                  flush=True)
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
