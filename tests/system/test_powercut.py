"""Power cuts: the instance lies on a loop-mounted file system that is shut down under load without its caches being written, then mounted again.
KMS_CUTS (default 2) cuts for each file system and each place of the token."""
import fcntl
import os
import shutil
import struct
import threading
import time

import pytest

from acks import Acks
from kms import Instance, run

CUTS = int(os.environ.get("KMS_CUTS", "2"))
SHUTDOWN = 0x8004587D          # FS_IOC_SHUTDOWN of ext4 and xfs
NO_FLUSH = 2                   # neither data nor journal is written: what was not synced is gone
MEBIBYTES = {"ext4": 96, "xfs": 320}
CLIENTS = 6


class Volume:
    """A file system in a file, mounted at a directory."""

    def __init__(self, path, kind):
        self.image, self.at, self.kind = path.with_suffix(".img"), path, kind
        self.at.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(MEBIBYTES[kind] << 20)
        run(f"mkfs.{kind}", "-q", self.image)
        self.mounted = False
        self.mount()

    def mount(self):
        run("mount", "-o", "loop", self.image, self.at)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            if run("umount", self.at, check=False).returncode:
                run("umount", "-l", self.at)
        self.mounted = False

    def cut(self):
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(fd)


def usable(tmp_path):
    try:
        volume = Volume(tmp_path / "probe", "ext4")
    except AssertionError:
        return False
    volume.unmount()
    return True


@pytest.fixture
def volume(tmp_path, request):
    kind = request.param
    if os.geteuid() or not shutil.which(f"mkfs.{kind}") or not usable(tmp_path):
        pytest.skip(f"needs root, loop devices and mkfs.{kind}")
    made = Volume(tmp_path / "volume", kind)
    yield made
    made.unmount()


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def end_all(kms, pids):
    """The machine is off: nothing that runs goes on."""
    os.kill(pids[0], 9)
    kms.wait(lambda: all(gone(pid) for pid in pids), 20, "the end of all processes")


def work(acks, stopped, number):
    while not stopped.is_set():
        try:
            acks.create_key(1) if number == 0 else acks.sign(1)
        except AssertionError:
            return
        except Exception:
            return


@pytest.mark.parametrize("volume", ["ext4", "xfs"], indirect=True)
@pytest.mark.parametrize("token", ["same", "other"])
def test_power_cut(volume, token, tmp_path, capsys):
    kms = Instance(volume.at / "dir")
    with kms:
        pass
    if token == "other":
        shutil.move(kms.dir / "tokens", tmp_path / "tokens")
        (kms.dir / "tokens").symlink_to(tmp_path / "tokens")
    every, keys = {}, 0
    for number in range(CUTS):
        kms.start()
        hands = [Acks(kms) for _ in range(CLIENTS)]
        stopped = threading.Event()
        threads = [threading.Thread(target=work, args=(acks, stopped, n), daemon=True) for n, acks in enumerate(hands)]
        for thread in threads:
            thread.start()
        time.sleep(0.4 + 0.13 * (number % 7))
        pids = [kms.pid, *kms.children()]
        # Told is what was told before: the file system takes milliseconds to be shut down, and a sync that ends in them may be lost after all.
        told = [dict(acks.told) for acks in hands]
        volume.cut()
        end_all(kms, pids)
        stopped.set()
        for thread in threads:
            thread.join(40)
        volume.unmount()
        volume.mount()
        kms.start()
        for kept in told:
            every.update(kept)
        acks = Acks(kms)
        acks.told = dict(every)
        acks.sign()
        acks.check()
        every = acks.told
        for record in kms.records(event="key.create", outcome="ok"):
            answer = kms.request("admin", "GET", f"/v1/keys/{record['key']['name']}")
            assert answer.status == 200, answer
        keys = len(kms.records(event="key.create", outcome="ok"))
        probe(kms)
        kms.stop()
    with capsys.disabled():
        print(f"\npower cuts on {volume.kind}, token on the {token} file system: {CUTS}, {len(every)} answers kept, {keys} keys usable")


def probe(kms):
    """Every key that the log says was made signs."""
    names = [record["key"]["name"] for record in kms.records(event="key.create", outcome="ok")]
    log = (kms.dir / "kmsd.log").read_text()
    assert "did not take a key" not in log.rsplit("event=ready", 1)[-1], (names, log[-2000:])
