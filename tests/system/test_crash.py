"""The crash sweep: SIGKILL at each system call that a process makes while a release is signed, a key made, a key destroyed, a policy changed. Whatever a client was told
is in the log afterwards, the log is sound, and kmsd goes on. KMS_CRASH_POINTS (default 36) of all points are tried, spread evenly; 0 = every one.
KMS_CRASH_WORK names the work (default: all of it)."""
import collections
import os
import re
import shutil
import subprocess
import time

import pytest

from acks import Acks
from kms import Instance

ONLY = os.environ.get("KMS_CRASH_WORK", "sign create_key apply_policy destroy_key").split()
POINTS = int(os.environ.get("KMS_CRASH_POINTS", "36"))
CHECK_EVERY = 50
IDLE = {"epoll_wait", "poll", "restart_syscall", "clock_nanosleep", "futex", "exit", "exit_group", "execve"}  # met while waiting, or no use as a point

pytestmark = [pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the processes cannot be traced by others")]


class Tracer:
    """strace on one process, attached when the constructor returns."""

    def __init__(self, pid, *options):
        self.out = subprocess.Popen(["strace", "-f", *options, "-p", str(pid)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        line = self.out.stderr.readline()
        assert "attached" in line, line

    def end(self):
        if self.out.poll() is None:
            self.out.terminate()
        rest = self.out.communicate(timeout=10)[1]
        return rest


@pytest.fixture
def single(tmp_path):
    """An instance with one signing lane, so that it is known who does the work."""
    kms = Instance(tmp_path / "dir")
    with kms:
        pass
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().replace("    pin_file: pin-keys\n", "    pin_file: pin-keys\n    lanes: 1\n", 1))
    with kms:
        yield kms


def policies(kms):
    """The policy in force, and one that differs by a comment."""
    text = kms.request("admin", "GET", "/v1/policy").json["policy"]
    while True:
        yield text + "# and so on\n"
        yield text


def pid_of(kms, who):
    return kms.child("kmsd-core") if who == "core" else kms.child("kmsd-token", lane=who) if who in ("sign", "admin") else kms.child("kmsd-front", door=who[6:])


# what is done, in which processes
WORK = {"sign": ["core", "sign", "front-ci"], "create_key": ["core", "admin", "sign"], "apply_policy": ["core"], "destroy_key": ["core", "admin"]}


def calls_of(kms, who, act, trace):
    """system call -> how often the process made it while the work was done."""
    tracer = Tracer(pid_of(kms, who), "-o", str(trace))
    act()
    tracer.end()
    names = re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(errors="replace"), re.M)
    return collections.Counter(name for name in names if name not in IDLE)


def hit(kms, who, call, nth, act):
    """Does the work while the nth such call of that process kills it. True when it did."""
    pid = pid_of(kms, who)
    tracer = Tracer(pid, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={nth}")
    act()
    killed = not os.path.exists(f"/proc/{pid}")
    tracer.end()
    kms.wait(lambda: pid_of_safe(kms, who), 40, f"another {who}")
    return killed


def pid_of_safe(kms, who):
    try:
        return pid_of(kms, who)
    except AssertionError:
        return 0


def test_killed_at_every_system_call(single, tmp_path, capsys):
    kms, acks = single, Acks(single)
    texts = policies(kms)
    acts = {"sign": acks.sign, "create_key": acks.create_key, "apply_policy": lambda: acks.apply_policy(next(texts)), "destroy_key": acks.destroy_key}
    first = {"destroy_key": acks.doom_key}  # what must be there before
    points = []
    for work in ONLY:
        for who in WORK[work]:
            first.get(work, int)()
            counted = calls_of(kms, who, acts[work], tmp_path / f"{work}-{who}.trace")
            points += [(work, who, call, nth) for call, most in sorted(counted.items()) for nth in range(1, most + 1)]
    chosen = points if not POINTS or POINTS >= len(points) else [points[n * len(points) // POINTS] for n in range(POINTS)]
    killed, begun = 0, time.monotonic()
    for number, (work, who, call, nth) in enumerate(chosen):
        try:
            first.get(work, int)()
            killed += hit(kms, who, call, nth, acts[work])
        except AssertionError as failure:
            raise AssertionError(f"{work} with {who} killed at {call} number {nth}: {failure}") from failure
        if number % CHECK_EVERY == CHECK_EVERY - 1:
            acks.check()
    acks.sign()
    acks.check()
    kms.stop()
    kms.start()
    acks.sign()
    acks.check()
    with capsys.disabled():
        print(f"\ncrash sweep: {len(chosen)} of {len(points)} points, {killed} kills, {len(acks.told)} answers kept, {time.monotonic() - begun:.0f} s")
    assert killed >= len(chosen) * 2 // 3, "too few of the points were met"
