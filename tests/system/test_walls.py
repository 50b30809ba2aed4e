"""The processes of a running instance: without privileges, filtered, and telling how well they are confined."""
import os
import re
import subprocess
from pathlib import Path

import pytest

from kms import BIN

VERSION = """
import ctypes
print(max(0, ctypes.CDLL(None).syscall(444, None, 0, 1)))
"""


@pytest.fixture(scope="module")
def landlock():
    """The version of Landlock that this kernel has, 0 = none."""
    return int(subprocess.run(["/usr/bin/python3", "-c", VERSION], capture_output=True, text=True, check=True).stdout)


def level(version):
    return f"seccomp+landlock{version}" if version else "seccomp"


def status_of(pid):
    return dict(line.split(":\t", 1) for line in Path("/proc", str(pid), "status").read_text().splitlines() if ":\t" in line)


def test_every_process_is_confined(kms):
    processes = {kms.pid: ["kmsd"], **kms.children()}
    assert len(processes) >= 5
    for pid, argv in processes.items():
        for task in Path("/proc", str(pid), "task").iterdir():
            status = status_of(f"{pid}/task/{task.name}")
            assert status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", (argv, status)
            for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                assert int(status[kind], 16) == 0, (argv, kind)


def test_the_level_is_told(kms, landlock):
    answer = kms.request("admin", "GET", "/v1/status")
    assert answer.status == 200 and answer.json["sandbox"] == level(landlock), answer
    told = re.findall(r"event=sandbox role=(\S+) walls=(\S+)", (kms.dir / "kmsd.log").read_text())
    assert {role for role, _ in told} == {"supervisor", "core", "front", "health", "lane-admin", "lane-sign", "reader"}
    assert {got for role, got in told if role != "supervisor"} == {level(landlock)}


def test_the_memory_of_token_processes_is_locked(kms):
    """Where the limit is high, or root may raise it."""
    limits = Path("/proc", str(kms.child("kmsd-token", lane="admin")), "limits").read_text()
    allowed = re.search(r"Max locked memory\s+(\S+)\s+(\S+)", limits)[2]
    if allowed != "unlimited" and int(allowed) < 256 << 20:
        pytest.skip(f"the limit of locked memory is {allowed}, and raising it needs CAP_SYS_RESOURCE")
    for pid, argv in kms.children().items():
        locked = int(status_of(pid)["VmLck"].split()[0])
        if argv[0].endswith("kmsd-token"):
            assert locked > 1000, (argv, locked)
    assert "event=memory" not in (kms.dir / "kmsd.log").read_text()


def test_locking_that_is_not_allowed_is_told(own_kms):
    own_kms.stop()
    limited = ["prlimit", f"--memlock={8 << 20}:{8 << 20}", "setpriv", "--bounding-set=-sys_resource"] if os.geteuid() == 0 else ["prlimit", f"--memlock={8 << 20}:{8 << 20}"]
    log = own_kms.dir / "limited.log"
    daemon = subprocess.Popen([*limited, BIN / "kmsd", "run", "--settings", own_kms.dir / "kmsd.yaml", "--allow-dev"], stderr=log.open("wb"))
    try:
        own_kms.wait(lambda: "event=ready" in log.read_text(), 30, "the service")
        assert "event=memory" in log.read_text() and own_kms.sign("1.0.0").status == 200
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0


def restarted(kms, setting):
    kms.stop()
    with (kms.dir / "kmsd.yaml").open("a") as settings:
        settings.write(f"sandbox: {setting}\n")
    kms.start()


def test_off_is_seen(own_kms):
    restarted(own_kms, "off")
    assert own_kms.request("admin", "GET", "/v1/status").json["sandbox"] == "off"
    assert status_of(own_kms.child("kmsd-core"))["Seccomp"].strip() == "0"


def test_required(own_kms, landlock):
    if not landlock:
        pytest.skip("this kernel has no Landlock")
    restarted(own_kms, "required")
    assert own_kms.request("admin", "GET", "/v1/status").json["sandbox"] == level(landlock)
    assert own_kms.sign("1.0.0").status == 200


# A kernel that gives less: landlock_create_ruleset answers ENOSYS, for this process and all that it starts.
LESS = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("<HBBI", *row) for row in [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)])
buffer = ctypes.create_string_buffer(code)
program = struct.pack("<HxxxxxxQ", 4, ctypes.addressof(buffer))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter")
os.execv(sys.argv[1], sys.argv[1:])
"""


def less(*argv):
    return ["/usr/bin/python3", "-c", LESS, *map(str, argv)]


def test_required_refuses_a_kernel_with_less(own_kms):
    own_kms.stop()
    settings = own_kms.dir / "kmsd.yaml"
    before = settings.read_text()
    settings.write_text(before + "sandbox: required\n")
    done = subprocess.run(less(BIN / "kmsd", "run", "--settings", settings, "--allow-dev"), capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "sandbox: required" in done.stderr and "Landlock" in done.stderr, done
    settings.write_text(before)
    daemon = subprocess.Popen(less(BIN / "kmsd", "run", "--settings", settings, "--allow-dev"), stderr=subprocess.DEVNULL)
    try:
        own_kms.wait(lambda: reachable(own_kms), 30, "the service")
        assert own_kms.request("admin", "GET", "/v1/status").json["sandbox"] == "seccomp"
        own_kms.wait(lambda: own_kms.sign("1.0.0").status == 200, 20, "a signature")
    finally:
        daemon.terminate()
        assert daemon.wait(30) == 0


def reachable(kms):
    try:
        return kms.request("ci", "GET", "/v1/whoami").status == 200
    except OSError:
        return False
