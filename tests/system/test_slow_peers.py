"""A thousand peers that are slow or say nothing hold their connections while a good client signs."""
import os
import resource
import socket
import time

import pytest

from load import sign_p99

PEERS = int(os.environ.get("KMS_SLOW_PEERS", "1000"))
SIGNATURES, FLOOR = 300, 0.010   # FLOOR: a quiet p99 below this says more of the machine than of kmsd
HALF_HELLO = bytes.fromhex("16030102000100 01fc0303".replace(" ", ""))
HEAD = b"POST /v1/sign HTTP/1.1\r\nHost: kms\r\nContent-Type: application/json\r\nContent-Length: 500\r\n"


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < PEERS + 512:
        pytest.skip(f"needs {PEERS + 512} descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, PEERS + 512), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def slow_peer(kms, number):
    """TCP and nothing; half a ClientHello; and of every 20 two with half a head, two with half a body."""
    peer = socket.create_connection(kms.address("ci"), timeout=10, source_address=(f"127.0.0.{2 + number % 8}", 0))
    if number % 20 < 4:
        peer = kms.context(kms.ci).wrap_socket(peer, server_hostname=kms.address("ci")[0])
        peer.sendall(HEAD + (b"\r\n{" if number % 2 else b""))
    elif number % 2:
        peer.sendall(HALF_HELLO + os.urandom(20))
    return peer


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_good_client_among_a_thousand_slow_ones(own_kms, descriptors, capsys):
    kms = own_kms
    settings = kms.dir / "kmsd.yaml"
    kms.stop()
    settings.write_text(settings.read_text() + "limits: {request_seconds: 120, connections: 2048}\n")
    kms.start()
    kms.wait(lambda: kms.sign("0.1.0").status == 200, 10, "a signature")
    door = kms.child("kmsd-front", door="ci")
    before = len(os.listdir(f"/proc/{door}/fd")), resident(door)
    quiet = sign_p99(kms, "com.example.quiet", SIGNATURES)
    peers = [slow_peer(kms, number) for number in range(PEERS)]
    try:
        time.sleep(0.5)
        spent = cpu(door)
        time.sleep(2)
        spent = (cpu(door) - spent) / 2
        busy = sign_p99(kms, "com.example.busy", SIGNATURES)
        for attempt in range(2):  # whatever else the machine does is not there for long
            if busy >= 5 * max(quiet, FLOOR):
                busy = min(busy, sign_p99(kms, f"com.example.busy{attempt}", SIGNATURES))
        assert kms.health()[0] == 200
        for peer in peers[::50]:
            peer.send(b" ")
    finally:
        for peer in peers:
            peer.close()
    with capsys.disabled():
        print(f"\n{PEERS} slow peers: p99 {busy * 1e3:.1f} ms, quiet {quiet * 1e3:.1f} ms; the door spent {spent:.0%} of a processor on them")
    assert busy < 5 * max(quiet, FLOOR)
    assert spent < 0.3, "peers that say nothing cost next to nothing"
    kms.wait(lambda: len(os.listdir(f"/proc/{door}/fd")) <= before[0] + 2, 10, "their descriptors")
    assert resident(door) < before[1] + (1024 if "ASAN_OPTIONS" in os.environ else 96) * 1024  # a sanitizer keeps freed memory
    assert kms.child("kmsd-front", door="ci") == door


def resident(pid):
    """KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])
