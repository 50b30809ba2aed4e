"""A kmsd-token lane without a core: frames over our end of its socket pair, judged by openssl."""
import ctypes
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KMSD_BUILD", ROOT / "build"))
PROGRAM = str(BUILD / "libexec/kmsd/kmsd-token")
HEADER = (ROOT / "base/frame.h").read_text()


def table(macro):
    """The rows X(NAME, number, ...) of a macro of base/frame.h."""
    rows = re.search(rf"#define {macro}\(X\)(.*?)\n(?:#|enum|$)", HEADER, re.S).group(1)
    found = {name: int(number) for name, number in re.findall(r"\bX\((\w+), (\d+)", rows)}
    assert len(found) > 10
    return found


TYPES, TAGS = table("FRAME_TYPES"), table("FRAME_TAGS")
TAG_NAMES = {number: name for name, number in TAGS.items()}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
TOKEN, HUMAN, BUG, INPUT, KEY, VERIFY, UNABLE = range(1, 8)
EXIT_TOKEN, EXIT_PIN, EXIT_SETTINGS = 75, 77, 78
ANSWER_SECONDS = 30


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout


def pae(body):
    return b"DSSEv1 28 application/vnd.in-toto+json " + str(len(body)).encode() + b" " + body


STATEMENT = pae(b'{"_type":"https://in-toto.io/Statement/v1"}')


def verifies(directory, spki, message, signature):
    """What openssl says about an ECDSA signature with SHA-256."""
    (directory / "pub.der").write_bytes(spki)
    (directory / "sig").write_bytes(signature)
    (directory / "message").write_bytes(message)
    argv = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", "pub.der", "-signature", "sig", "message"]
    return subprocess.run(argv, cwd=directory, capture_output=True, check=False).stdout == b"Verified OK\n"


ALGORITHMS = ("p256", "p384", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519")
SCHEMES = {"statement": ("p256", "p384", "rsa-3072", "rsa-4096", "ed25519"), "digest": ("p256", "p384", "rsa-2048", "rsa-3072", "rsa-4096"),
           "digest-pkcs1": ("rsa-2048", "rsa-3072", "rsa-4096")}
HASHES = {"p384": "sha384"}  # the others sign SHA-256


def digest_of(algorithm, data):
    return hashlib.new(HASHES.get(algorithm, "sha256"), data).digest()


def scheme_input(algorithm, scheme, number=0):
    """One of the inputs that the scheme takes."""
    return pae(b'{"n":%d}' % number) if scheme == "statement" else digest_of(algorithm, b"%d" % number)


def judged(directory, spki, algorithm, scheme, data, signature):
    """What openssl says about a signature of any scheme."""
    for name, content in (("pub.der", spki), ("sig", signature), ("message", data)):
        (directory / name).write_bytes(content)
    argv = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "pub.der", "-in", "message", "-sigfile", "sig"]
    if scheme == "statement":
        argv += ["-rawin"] + (["-digest", HASHES.get(algorithm, "sha256")] if algorithm != "ed25519" else [])
    else:
        argv += ["-pkeyopt", "digest:" + HASHES.get(algorithm, "sha256")]
    if algorithm.startswith("rsa"):
        argv += ["-pkeyopt", "rsa_padding_mode:" + ("pkcs1" if scheme == "digest-pkcs1" else "pss")]
        argv += ["-pkeyopt", "rsa_pss_saltlen:digest"] if scheme != "digest-pkcs1" else []
    return subprocess.run(argv, cwd=directory, capture_output=True, check=False).stdout == b"Signature Verified Successfully\n"


class Verifier:
    """The same without a process for every signature: libcrypto called directly."""

    def __init__(self, spki):
        self.crypto = ctypes.CDLL("libcrypto.so.3")
        for name in ("d2i_PUBKEY", "EVP_MD_CTX_new", "EVP_sha256"):
            getattr(self.crypto, name).restype = ctypes.c_void_p
        data = ctypes.c_char_p(spki)
        self.key = ctypes.c_void_p(self.crypto.d2i_PUBKEY(None, ctypes.byref(data), ctypes.c_long(len(spki))))
        self.hash = ctypes.c_void_p(self.crypto.EVP_sha256())
        assert self.key

    def __call__(self, message, signature):
        ctx = ctypes.c_void_p(self.crypto.EVP_MD_CTX_new())
        try:
            assert self.crypto.EVP_DigestVerifyInit(ctx, None, self.hash, None, self.key) == 1
            return self.crypto.EVP_DigestVerify(ctx, signature, ctypes.c_size_t(len(signature)), message, ctypes.c_size_t(len(message))) == 1
        finally:
            self.crypto.EVP_MD_CTX_free(ctx)


def frame(kind, number, fields):
    body = struct.pack(">BQ", TYPES[kind], number)
    for name, value in fields.items():
        if isinstance(value, int):
            value = struct.pack(">Q", value)
        elif isinstance(value, str):
            value = value.encode()
        body += struct.pack(">BI", TAGS[name], len(value)) + value
    return struct.pack(">I", len(body)) + body


class Lane:
    """One kmsd-token process with our end of its socket pair. prefix: words before the program, env: variables besides ours."""

    def __init__(self, directory, lane, index=0, wait=True, env=None, prefix=()):
        self.ours, theirs = socket.socketpair()
        self.stderr = open(directory / f"{lane}-{index}-{secrets.token_hex(4)}.stderr", "w+", encoding="utf-8")
        argv = [*prefix, PROGRAM, "--settings", str(directory / "kmsd.yaml"), "--lane", lane, "--index", str(index), "--parent", str(os.getpid())]
        self.process = subprocess.Popen(argv, close_fds=False, preexec_fn=lambda: os.dup2(theirs.fileno(), 3), env={**os.environ, **(env or {})},
                                        stderr=self.stderr, stdin=subprocess.DEVNULL)
        theirs.close()
        self.ours.settimeout(ANSWER_SECONDS)
        self.buffer = b""
        self.next_id = 1
        self.hello = self.read() if wait else None

    def wait_hello(self):
        """For a lane that may have to look for its token first."""
        while self.hello and self.hello["type"] == "AWAY":
            self.hello = self.read()
        assert self.hello and self.hello["type"] == "HELLO", self.err_text()
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self.stderr.close()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def read(self):
        """The next frame; None when the lane closed its end."""
        while len(self.buffer) < 4 or len(self.buffer) < 4 + struct.unpack(">I", self.buffer[:4])[0]:
            try:
                got = self.ours.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not got:
                return None
            self.buffer += got
        size = 4 + struct.unpack(">I", self.buffer[:4])[0]
        whole, self.buffer = self.buffer[4:size], self.buffer[size:]
        kind, number = struct.unpack(">BQ", whole[:9])
        answer, at = {"type": TYPE_NAMES[kind], "id": number}, 9
        while at < len(whole):
            tag, length = struct.unpack(">BI", whole[at:at + 5])
            answer[TAG_NAMES[tag]] = whole[at + 5:at + 5 + length]
            at += 5 + length
        assert at == len(whole)
        return answer

    def silent(self, seconds):
        """True when the lane neither says anything nor closes its end for so long."""
        self.ours.settimeout(seconds)
        try:
            return self.read() == "a frame"
        except TimeoutError:
            return True
        finally:
            self.ours.settimeout(ANSWER_SECONDS)

    def send(self, kind, **fields):
        self.next_id += 1
        self.ours.sendall(frame(kind, self.next_id, fields))
        return self.next_id

    def call(self, kind, **fields):
        """The answer; None when the lane ended instead."""
        number = self.send(kind, **fields)
        answer = self.read()
        assert not answer or answer["id"] == number
        return answer

    def ok(self, kind, **fields):
        answer = self.call(kind, **fields)
        assert answer and answer["type"] == "RESULT", (answer, self.err_text())
        return answer

    @staticmethod
    def lane_class(answer):
        return struct.unpack(">Q", answer["CLASS"])[0]

    def refused(self, lane_class, kind, **fields):
        answer = self.call(kind, **fields)
        assert answer and answer["type"] == "ERROR", answer
        assert self.lane_class(answer) == lane_class, answer
        assert b"0x" not in answer["REASON"] and b"CKR" not in answer["REASON"]
        return answer

    def ended(self, seconds=10):
        """The exit code of a lane that must be ending."""
        assert self.read() is None
        return self.process.wait(seconds)

    def generate(self, name="app", version=1, algorithm="p256", scheme="statement"):
        key_id = secrets.token_bytes(16)
        answer = self.ok("GENERATE", KEY_ID=key_id, ALGORITHM=algorithm, SCHEME=scheme, LABEL=f"kmsd:release:{name}:{version}")
        return key_id, answer["SPKI"], json.loads(answer["BIRTH"])

    def load(self, key_id, spki, algorithm="p256", scheme="statement"):
        return self.ok("LOAD", KEY_ID=key_id, ALGORITHM=algorithm, SCHEME=scheme, SPKI=spki)

    def sign(self, key_id, message=STATEMENT, scheme="statement"):
        return self.call("SIGN", KEY_ID=key_id, SCHEME=scheme, INPUT=message)

    def err_text(self):
        self.stderr.seek(0)
        return self.stderr.read()

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")
