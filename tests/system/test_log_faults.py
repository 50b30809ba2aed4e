"""The file of the log under fault while kmsd runs: what was told is never lost, kmsd goes on where it can, and refuses with a reason where it cannot."""
import os
import shutil
import subprocess
import time

import pytest

from acks import Acks
from kms import BIN, run

needs_strace = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("strace"), reason="needs root and strace")


def segment(kms):
    return sorted((kms.dir / "audit").glob("*.jsonl"))[-1]


def inject(kms, call, error, when="1"):
    """The next such call of the core fails; the tracer leaves with the core."""
    tracer = subprocess.Popen(["strace", "-f", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}", "-p", str(kms.child("kmsd-core"))],
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert "attached" in tracer.stderr.readline()
    return tracer


@needs_strace
@pytest.mark.parametrize("call,error", [("fdatasync", "EIO"), ("write", "EIO"), ("write", "ENOSPC"), ("write", "EDQUOT"), ("fdatasync", "ENOSPC")])
def test_a_write_that_fails(own_kms, call, error):
    """The core never repeats a sync that failed: it ends, the next one reads what the disk has, cuts what nobody was told of, and goes on."""
    kms, acks = own_kms, Acks(own_kms)
    for _ in range(5):
        acks.sign()
    core = kms.child("kmsd-core")
    for number in range(3):
        tracer = inject(kms, call, error)
        acks.sign()
        tracer.terminate()
        tracer.communicate(timeout=10)
        acks.check()
    assert kms.child("kmsd-core") != core, "it was hit"
    acks.sign()
    acks.check()


def gone(kms, seconds=20):
    """kmsd gave up; what it said."""
    kms.wait(lambda: not kms_alive(kms), seconds, "the end of kmsd")
    return (kms.dir / "kmsd.log").read_text()


def kms_alive(kms):
    try:
        with open(f"/proc/{kms.pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def remove(kms):
    segment(kms).unlink()


def truncate(kms):
    file = segment(kms)
    os.truncate(file, file.stat().st_size // 2)


def cut_last_record(kms):
    file = segment(kms)
    data = file.read_bytes()
    os.truncate(file, data[:-1].rfind(b"\n") + 1)


def edit(kms):
    file = segment(kms)
    with open(file, "r+b") as f:
        data = f.read()
        f.seek(data.find(b'"outcome":"ok"'))
        f.write(b'"outcome":"no"')


def older_copy(kms):
    file, copy = segment(kms), kms.dir / "copy"
    data = file.read_bytes()
    copy.write_bytes(data[:data[:-1].rfind(b"\n", 0, len(data) * 2 // 3) + 1])
    copy.rename(file)


@pytest.mark.parametrize("damage", [remove, truncate, cut_last_record, older_copy])
def test_a_log_that_is_lost_in_part_is_refused(own_kms, damage):
    """Nothing more is signed, kmsd ends with a sentence, and says the same when it is started again."""
    kms, acks = own_kms, Acks(own_kms)
    for _ in range(8):
        acks.sign()
    time.sleep(1.2)  # the anchor follows the log by a second
    acks.sign()
    time.sleep(1.2)
    damage(kms)
    with pytest.raises(AssertionError):
        acks.sign(3)
    said = gone(kms)
    assert "refuse" in said or "kms-audit" in said or "anchor" in said, said[-2000:]
    done = run(BIN / "kmsd", "run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev", check=False)
    assert done.returncode == 78 and (b"anchor" in done.stderr or (damage is remove and b"No such file" in done.stderr)), done.stderr


def test_a_log_replaced_by_itself(own_kms):
    """The same bytes in another file: the core notices that it writes into a file nobody sees, the next one goes on with the one that is there."""
    kms, acks = own_kms, Acks(own_kms)
    for _ in range(5):
        acks.sign()
    file, copy = segment(kms), kms.dir / "copy"
    core = kms.child("kmsd-core")
    shutil.copy2(file, copy)
    copy.rename(file)
    acks.sign()
    kms.wait(lambda: kms.child("kmsd-core") != core, 10, "another core")
    acks.sign()
    acks.check()


def test_an_edit_is_found_at_the_next_start(own_kms):
    kms, acks = own_kms, Acks(own_kms)
    for _ in range(5):
        acks.sign()
    kms.stop()
    edit(kms)
    done = run(BIN / "kmsd", "run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev", check=False)
    assert done.returncode == 78 and b"damaged" in done.stderr, done.stderr
    assert run(BIN / "kms-audit", "verify", kms.dir, check=False).returncode == 1


def test_sigterm_drains(own_kms):
    """Requests under way are answered, daemon.stop is the last record, within ten seconds; SIGHUP changes nothing."""
    kms, acks = own_kms, Acks(own_kms)
    os.kill(kms.pid, 1)
    for _ in range(3):
        acks.sign()
    begun = time.monotonic()
    kms.stop()
    assert time.monotonic() - begun < 10
    assert kms.records()[-1]["event"] == "daemon.stop"
    acks.check()
