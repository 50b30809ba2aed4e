"""The disk under the log: full, filled under load, and taken away. What was acknowledged is in the log, and the service returns by itself."""
import os
import time

import pytest

from kms import Instance, run, sha256
from load import Threads

SIZE = "24m"
ROOM = 640 << 10   # left at the start: the log gets 512 KiB of it, more than it keeps for what must not fail
CLIENTS = 8

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def small(tmp_path):
    """An instance whose audit directory is a file system of its own."""
    directory = tmp_path / "dev"
    with Instance(directory):
        pass
    audit = directory / "audit"
    aside = tmp_path / "aside"
    audit.rename(aside)
    audit.mkdir(mode=0o750)
    run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0750", "tmpfs", audit)
    try:
        run("cp", "-a", f"{aside}/.", audit)
        filler = fill(audit)
        os.truncate(filler, filler.stat().st_size - ROOM)
        with Instance(directory) as instance:
            yield instance, filler
    finally:
        run("umount", "-l", audit)


def fill(audit):
    """Takes all that is left."""
    path = audit / "filler"
    with open(path, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(1 << 16))
        except OSError:
            pass
    return path


class Signing(Threads):
    def __init__(self, kms):
        super().__init__(CLIENTS, self._client)
        self.kms, self.told, self.refused, self.wrong = kms, [], 0, []

    def _client(self, number):
        turn = 0
        with self.kms.connect("ci") as connection:
            while not self.stopped.is_set():
                turn += 1
                answer = connection.request("POST", "/v1/sign", self.kms.release(f"1.{turn}.0", app=f"com.example.disk{number}", channel="beta"))
                if answer.status == 200:
                    self.told.append((answer.json["record"]["seq"], answer.json["record"]["hash"]))
                elif answer.status == 503 and answer.slug == "log-unavailable" and answer.headers.get("retry-after") == "1":
                    self.refused += 1
                    time.sleep(0.02)
                else:
                    self.wrong.append(answer)


def test_a_disk_that_fills_under_load_refuses_and_comes_back(small):
    kms, filler = small
    core = kms.child("kmsd-core")
    with Signing(kms) as load:
        kms.wait(lambda: load.refused > CLIENTS or load.wrong, 20, "refusals for lack of room")
        assert not load.wrong, load.wrong[:3]
        before = len(load.told)
        filler.unlink()
        kms.wait(lambda: len(load.told) > before, 2, "signatures after room came back")
    assert not load.wrong
    assert kms.child("kmsd-core") == core
    kms.check_chain()
    hashes = [sha256(line) for line in kms.lines()]
    assert len(load.told) > CLIENTS and all(hashes[seq] == told for seq, told in load.told)
