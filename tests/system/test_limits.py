"""Limits of the machine: descriptors, memory, processes. The service refuses or restarts a process; it never hangs, spins or forgets."""
import hashlib
import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

from kms import BIN, run


def sound(kms):
    kms.check_chain()
    report = run(BIN / "kms-audit", "verify", kms.dir, check=False)
    assert report.returncode == 0, report.stdout


def cpu_seconds(pid):
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def small(pid, room):
    """Leaves that process so many bytes of address space beyond what it has."""
    size = int(Path("/proc", str(pid), "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.prlimit(pid, resource.RLIMIT_AS, (size + room, size + room))


@pytest.mark.parametrize("program, options", [("kmsd-core", {}), ("kmsd-front", {"door": "ci"}), ("kmsd-token", {"lane": "sign"}), ("kmsd-reader", {})])
@pytest.mark.parametrize("room", [0, 1_000_000])
def test_no_memory(own_kms, program, options, room):
    """A process that gets no more memory: whatever it answers, nothing told is lost, and the service signs again without help."""
    kms, told = own_kms, []
    pid = kms.child(program, **options)
    small(pid, room)
    for number in range(60):
        try:
            answer = kms.sign(f"1.0.{number}", app="com.example.memory", source="s" * 500)
        except OSError:
            continue
        assert answer.status in (200, 409, 500, 503), answer
        if answer.status == 200:
            told.append((answer.json["record"]["seq"], answer.json["record"]["hash"]))
    if pid in kms.children():
        kms.kill(pid, signal.SIGKILL)  # it went on with what it had
    kms.wait(lambda: signs(kms, "2.0.0"), 20, "a signature after the shortage")
    lines = kms.lines()
    assert all(hashlib.sha256(lines[seq]).hexdigest() == value for seq, value in told)
    sound(kms)


def signs(kms, version):
    try:
        return kms.sign(version, app="com.example.memory").status == 200
    except OSError:
        return False


def test_too_few_descriptors_for_the_settings(tmp_path):
    """Refused at the start, with both numbers and the way out."""
    done = run("prlimit", "--nofile=96:96", BIN / "kmsd", "dev", "--dir", tmp_path / "dir", "--listen", "127.0.0.1:0", "--detach", check=False, timeout=90)
    assert done.returncode != 0
    assert "limits.connections is 1024, but this process may have 96 descriptors only; raise the limit" in (tmp_path / "dir" / "kmsd.log").read_text()


def test_no_descriptor_left(own_kms):
    """A door that gets no more descriptors while it runs: those beyond wait or are closed, nothing spins, and who has a connection is served."""
    kms = own_kms
    front = kms.child("kmsd-front", door="ci")
    with kms.connect("ci") as good:
        limit = len(os.listdir(f"/proc/{front}/fd")) + 4
        resource.prlimit(front, resource.RLIMIT_NOFILE, (limit, limit))
        idle = []
        for _ in range(40):
            peer = socket.socket()
            peer.settimeout(0.2)
            try:
                peer.connect(kms.address("ci"))
                idle.append(peer)
            except OSError:
                peer.close()
        used, since = cpu_seconds(front), time.monotonic()
        for number in range(20):
            assert good.request("POST", "/v1/sign", kms.release(f"1.0.{number}", app="com.example.descriptors")).status == 200
            time.sleep(0.1)
        assert cpu_seconds(front) - used < 0.5 * (time.monotonic() - since)
        for peer in idle:
            peer.close()
    kms.wait(lambda: signs(kms, "3.0.0"), 20, "service for newcomers")
    assert kms.child("kmsd-front", door="ci") == front
    sound(kms)
