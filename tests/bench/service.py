"""The service under load, its token without it, and what either costs the machine."""
import json
import re
import subprocess
from pathlib import Path

import kms

PROGRAMS = kms.BUILD / "tests" / "bench"
WARMUP_MS = 500
PARTS = ("front", "core", "disk", "lanes", "reader", "others")
# What /metrics calls them.
COUNTERS = {"groups": "kmsd_log_groups_total", "records": "kmsd_log_records_total"}
STAGES = {"queue": ("kmsd_sign_stage_seconds", "queue"), "lane": ("kmsd_sign_stage_seconds", "lane"), "sync": ("kmsd_log_sync_seconds", "")}


class Service:
    def __init__(self, directory, scale, preload=None):
        """preload: a library that its processes load before all others."""
        self.dir, self.scale, self.apps, self.first_error = Path(directory), scale, 0, ""
        self.instance = kms.Instance(self.dir / "instance", environment={"LD_PRELOAD": str(PROGRAMS / preload)} if preload else None)

    def __enter__(self):
        self.instance.start()
        return self

    def __exit__(self, *_):
        self.instance.stop(check=False)

    # what it can do

    def takes(self, what):
        assert what == "batch"
        return self.instance.request("ci", "POST", "/v1/sign", {"items": [self.instance.release("1.0.0")]}).status == 200

    def key(self, name, algorithm):
        """A release key of that algorithm; False where the service makes none."""
        if self.instance.request("admin", "GET", f"/v1/keys/{name}").status == 200:
            return True
        if self.instance.signed("POST", "/v1/keys", {"name": name, "algorithm": algorithm, "scheme": "statement"}).status not in (201, 202):
            return False
        self.instance.wait(lambda: self.instance.request("admin", "GET", f"/v1/keys/{name}").json.get("state") == "active", what=f"key {name}")
        self.allow(name)
        return True

    def allow(self, key):
        """Lets the CI identity sign with that key too."""
        text = self.instance.request("admin", "GET", "/v1/policy").json["policy"]
        answer = self.instance.signed("PUT", "/v1/policy", text.replace("keys: [release]", f"keys: [release, {key}]"), {"Content-Type": "application/yaml"})
        assert answer.status == 200, answer

    def copies(self):
        """A key that the lanes copy into their sessions."""
        self.instance.stop()
        file = self.instance.dir / "kmsd.yaml"
        text = file.read_text()
        assert text.count("    label: kmsd-keys\n") == 1
        file.write_text(text.replace("    label: kmsd-keys\n", "    label: kmsd-keys\n    session_copies: on\n"))
        self.instance.start()
        assert self.key("bench-copies", "p256")
        return "bench-copies"

    # what it costs

    def cpu(self):
        """Microseconds that each part of it has used: the ci door's front, the core, its disk thread, the signing lanes, the reader, all others."""
        used = dict.fromkeys(PARTS, 0.0)
        for pid, argv in self.instance.children().items():
            words = set(zip(argv, argv[1:]))
            for task in Path("/proc", str(pid), "task").iterdir():
                if ("--door", "ci") in words:
                    name = "front"
                elif argv[0].endswith("kmsd-core"):
                    name = "core" if task.name == str(pid) else "disk"
                elif argv[0].endswith("kmsd-reader"):
                    name = "reader"
                else:
                    name = "lanes" if ("--lane", "sign") in words else "others"
                used[name] += int((task / "schedstat").read_text().split()[0]) / 1000
        return used

    def counters(self):
        """What the service counts itself: groups and records of the log, and (seconds, times) of each stage. Empty where it does not say."""
        status, body = self.instance.health("/metrics")
        if status != 200:
            return {}
        found = {}
        for line in body.decode().splitlines():
            match = re.fullmatch(r'([a-z_]+)(?:\{stage="([a-z]+)"\})? ([0-9.e+-]+)', line)
            if match:
                found[match[1], match[2] or ""] = float(match[3])
        got = {name: found[metric, ""] for name, metric in COUNTERS.items() if (metric, "") in found}
        return got | {name: (found[f"{metric}_sum", stage], found[f"{metric}_count", stage]) for name, (metric, stage) in STAGES.items()
                      if (f"{metric}_count", stage) in found}

    # load

    def load(self, connections, seconds, *options, key="release"):
        """Runs the load generator. Its report, with what the service used and counted in the measured time, a signature."""
        self.apps += 1
        ci, (host, port) = self.instance.ci, self.instance.address("ci")
        argv = [PROGRAMS / "load", "--host", host, "--port", port, "--ca", self.instance.env["KMS_CACERT"], "--cert", ci.cert, "--key", ci.key,
                "--connections", connections, "--app", f"com.example.b{self.apps}", "--sign-key", key, "--warmup-ms", int(WARMUP_MS * self.scale),
                "--measure-ms", int(seconds * 1000 * self.scale), *options]
        with subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            before = self.cpu(), self.counters()
            last = process.stdout.readline()
            after = self.cpu(), self.counters()
        if process.returncode or first != "begin\n":
            raise SystemExit(f"bench: the load generator failed ({process.returncode})")
        got = json.loads(last)
        self.first_error = self.first_error or got["first_error"]
        signed = max(got["signatures"], 1)
        got["per_s"] = got["signatures"] / (got["wall_us"] / 1e6)
        got["cpu_us_load"] = got["cpu_us"] / signed
        got["cpu"] = {name: (after[0][name] - before[0][name]) / signed for name in before[0]}
        got["cpu_us"] = sum(got["cpu"].values())
        got["counted"] = difference(before[1], after[1])
        return got

    # the token without it

    def public(self, key):
        file = self.dir / f"{key}.pub"
        if not file.exists():
            file.write_bytes(self.instance.request("admin", "GET", f"/v1/keys/{key}/public").body)
        return file

    def raw(self, seconds, *options, key="release", processes=2):
        argv = [PROGRAMS / "raw", "--settings", self.instance.dir / "kmsd.yaml", "--label", f"kmsd:release:{key}:1", "--public", self.public(key),
                "--processes", processes, "--ms", int(seconds * 1000 * self.scale), *options]
        got = json.loads(kms.run(*argv, timeout=120).stdout)
        if "signatures" in got:
            got["per_s"] = got["signatures"] / (got["wall_us"] / 1e6)
        return got


def difference(before, after):
    """Counters of the time between; stages as microseconds each time."""
    got = {}
    for name, value in after.items():
        if name not in before:
            continue
        if isinstance(value, tuple):
            times = value[1] - before[name][1]
            got[name] = round((value[0] - before[name][0]) / times * 1e6) if times else 0
        else:
            got[name] = value - before[name]
    return got
