"""A real kmsd instance for the system tests: started in a directory, spoken to over TLS, read from its log."""
import base64
import dataclasses
import hashlib
import http.client
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("KMSD_BUILD", ROOT / "build"))
BIN = BUILD / "bin"
START_SECONDS = 90
PROCESSES = 7 + min(os.cpu_count(), 8)  # supervisor, core, three doors, reader, administrative lane, a signing lane for each processor
REQUEST_SECONDS = 30


def canonical(value):
    """RFC 8785 for what these tests use: no floats, ASCII member names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def run(*argv, stdin=None, env=None, check=True, timeout=60):
    """Runs a program; a failure shows what it printed."""
    done = subprocess.run([str(a) for a in argv], input=stdin, env=env, capture_output=True, timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"{argv[0]} ended with {done.returncode}\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return done


@dataclasses.dataclass
class Client:
    """Who speaks: a certificate with its key, for people also an SSH key; name as the service knows it."""
    cert: Path
    key: Path
    ssh_key: Path = None
    name: str = ""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    @property
    def type(self):
        return self.headers.get("content-type", "").split(";")[0].strip()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def slug(self):
        """The problem's slug, or "" for an answer that is no problem."""
        return self.json["type"].removeprefix("urn:kmsd:problem:") if self.type == "application/problem+json" else ""

    @property
    def request_id(self):
        return self.headers.get("x-request-id", "")

    def __repr__(self):
        return f"<{self.status} {self.type} {self.body[:400]!r}>"


class Connection:
    """One TLS connection; several requests may follow each other on it."""

    def __init__(self, address, context, source=None):
        self.http = http.client.HTTPSConnection(*address, context=context, timeout=REQUEST_SECONDS, source_address=(source, 0) if source else None)
        self.http.connect()

    def request(self, method, path, body=None, headers=None):
        head = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if isinstance(body, str):
            body = body.encode()
        if body and not any(name.lower() == "content-type" for name in head):
            head["Content-Type"] = "application/json"
        self.http.request(method, path, body=body, headers=head)
        answer = self.http.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())

    def close(self):
        self.http.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Instance:
    """`kmsd dev` in a directory of its own. Use as a context manager, or call start and stop. options: more words for kmsd dev; environment: what its processes see beside ours."""

    def __init__(self, directory, *options, environment=None):
        self.dir, self.options, self.environment = Path(directory), options, environment or {}
        self.env, self.ci_env = {}, {}
        self._contexts = {}

    # life

    def start(self):
        run(BIN / "kmsd", "dev", "--dir", self.dir, "--listen", "127.0.0.1:0", "--detach", *self.options,
            env={**os.environ, **self.environment}, timeout=START_SECONDS)
        self.env, self.ci_env = self._read_env("env"), self._read_env("ci.env")
        self.admin = Client(Path(self.env["KMS_CERT"]), Path(self.env["KMS_KEY"]), Path(self.env["KMS_SSH_KEY"]))
        self.ci = Client(Path(self.ci_env["KMS_CERT"]), Path(self.ci_env["KMS_KEY"]))
        self._contexts.clear()
        self.n_children = len(self.children())
        for who, door in ((self.admin, "admin"), (self.ci, "ci")):
            who.name = self.request(door, "GET", "/v1/whoami", cert=who).json["identity"]["name"]
        return self

    def stop(self, check=True):
        return run(BIN / "kmsd", "dev", "--dir", self.dir, "--stop", check=check, timeout=START_SECONDS)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop(check=False)

    def _read_env(self, name):
        env = {}
        for line in (self.dir / name).read_text().splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["export"]:
                member, _, value = words[1].partition("=")
                env[member] = value
        return env

    # processes

    @property
    def pid(self):
        return int((self.dir / "kmsd.pid").read_text())

    def children(self):
        """pid -> argv of the supervisor's living children."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                stat = Path("/proc", entry, "stat").read_text()
                argv = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")[:-1]
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if int(parent) == self.pid and state != "Z":
                found[int(entry)] = [word.decode() for word in argv]
        return found

    def child(self, program, **options):
        """pid of the one child that runs that program with these options, e.g. child("kmsd-token", lane="sign"): the first signing lane."""
        if options.get("lane") == "sign":
            options.setdefault("index", 0)
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        pids = [pid for pid, argv in self.children().items() if argv and argv[0].endswith(program) and
                all(pair in zip(argv, argv[1:]) for pair in zip(words[::2], words[1::2]))]
        assert len(pids) == 1, (program, options, self.children())
        return pids[0]

    def lanes(self):
        """pids of the signing lanes."""
        return [pid for pid, argv in self.children().items() if argv and argv[0].endswith("kmsd-token") and ("--lane", "sign") in zip(argv, argv[1:])]

    def lanes_are(self, state):
        """All lanes, as the status tells."""
        return all(lane["state"] == state for lane in self.request("admin", "GET", "/v1/status").json["lanes"])

    def kill(self, pid, sig=signal.SIGKILL):
        """Signals one of our own processes."""
        assert pid == self.pid or pid in self.children()
        os.kill(pid, sig)

    # HTTP

    def address(self, door):
        host, _, port = self.env["KMS_ADDR" if door == "ci" else "KMS_ADMIN_ADDR"].removeprefix("https://").rpartition(":")
        return host, int(port)

    def _client(self, door, cert):
        return cert or (self.ci if door == "ci" else self.admin)

    def context(self, cert=None):
        """TLS settings of a client; cert None = no client certificate."""
        name = str(cert.cert) if cert else ""
        if name not in self._contexts:
            context = ssl.create_default_context(cafile=self.env["KMS_CACERT"])
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            if cert:
                context.load_cert_chain(cert.cert, cert.key)
            self._contexts[name] = context
        return self._contexts[name]

    def connect(self, door, cert=None, source=None):
        return Connection(self.address(door), self.context(self._client(door, cert)), source)

    def request(self, door, method, path, body=None, headers=None, cert=None, source=None):
        """One request on a connection of its own. body: bytes, text, or a value to be sent as JSON. source: our address, say 127.0.0.9."""
        with self.connect(door, cert, source) as connection:
            return connection.request(method, path, body, headers)

    def raw(self, door, data, cert=None, source=None):
        """Sends bytes, returns everything until the peer closes or falls silent for two seconds."""
        plain = socket.create_connection(self.address(door), timeout=REQUEST_SECONDS, source_address=(source, 0) if source else None)
        with self.context(self._client(door, cert)).wrap_socket(plain, server_hostname=self.address(door)[0]) as peer:
            peer.settimeout(2)
            got = b""
            try:
                peer.sendall(data)
                while part := peer.recv(65536):
                    got += part
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
            return got

    def nonce(self, cert=None, source=None):
        answer = self.request("admin", "POST", "/v1/nonce", cert=cert, source=source)
        assert answer.status == 200, answer
        return answer.json

    def signature(self, method, path, body=b"", cert=None, nonce=None, ssh_key=None, namespace="kmsd-request@v1"):
        """The value of Kms-Signature for a request."""
        who = cert or self.admin
        nonce = nonce or self.nonce(who)
        message = canonical({"body_sha256": sha256(body), "instance": nonce["instance"], "method": method, "nonce": nonce["nonce"], "path": path})
        armour = run("ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", ssh_key or who.ssh_key, stdin=message).stdout.decode()
        return "".join(line for line in armour.splitlines() if not line.startswith("-----"))

    def signed(self, method, path, body=b"", headers=None, cert=None, source=None):
        """A change at the administration door, signed with the person's SSH key."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if isinstance(body, str):
            body = body.encode()
        head = {"Kms-Signature": self.signature(method, path, body, cert), **(headers or {})}
        return self.request("admin", method, path, body, head, cert, source)

    # what tests often need

    def csr(self, stem, subject="/CN=ignored"):
        """Makes a P-256 key and a signing request in the directory; returns (key file, PEM text). A person's names no subject: "/"."""
        key = self.dir / f"{stem}.test.key"
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        return key, run("openssl", "req", "-new", "-key", key, "-subj", subject).stdout.decode()

    def ssh_key(self, stem):
        """A new SSH key: its path, and its public line with a comment."""
        path = self.dir / f"{stem}.test.ssh"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody@example.org", "-f", path)
        return path, path.with_name(path.name + ".pub").read_text().strip()

    def new_identity(self, stem, kind="ci", **members):
        """An identity with a certificate that the service issues; returns its Client."""
        key, csr = self.csr(stem, "/" if kind == "human" else "/CN=ignored")
        body = {"kind": kind, "csr": csr, **members}
        ssh_key = None
        if kind == "human":
            ssh_key, line = self.ssh_key(stem)
            body["ssh"] = [line]
        else:
            body["name"] = stem
        answer = self.signed("POST", "/v1/identities", body)
        assert answer.status == 201, answer
        cert = self.dir / f"{stem}.test.pem"
        cert.write_text(answer.json["certificate"])
        return Client(cert, key, ssh_key, answer.json["identity"]["name"])

    def new_key(self, name, algorithm="p256", scheme="statement", source=None):
        """A key; one that takes longer than a second is waited for."""
        answer = self.signed("POST", "/v1/keys", {"name": name, "algorithm": algorithm, "scheme": scheme}, source=source)
        assert answer.status in (201, 202), answer
        if answer.status == 202:
            self.wait(lambda: self.request("admin", "GET", f"/v1/keys/{name}", source=source).status == 200, what=f"the key {name}")
        return name

    def release(self, version, data=b"bundle", **members):
        """A sign request for the instance's own key, app and channel. The policy allows any app com.example.*, so tests pick their own."""
        return {"key": self.ci_env["KMS_SIGN_KEY"], "app": self.ci_env["KMS_APP"], "channel": self.ci_env["KMS_CHANNEL"], "version": version,
                "digest": {"alg": "sha256", "hex": sha256(data)}, **members}

    def sign(self, *args, cert=None, source=None, headers=None, **members):
        return self.request("ci", "POST", "/v1/sign", self.release(*args, **members), headers, cert, source)

    def kmsctl(self, *args, env=None, check=True, stdin=None):
        """kmsctl as the CI job, or with another environment (self.env: the administrator)."""
        return run(BIN / "kmsctl", *args, env={**os.environ, **(env or self.ci_env)}, check=check, stdin=stdin)

    # the log

    def lines(self):
        data = b"".join(f.read_bytes() for f in sorted((self.dir / "audit").glob("*.jsonl")))
        return data[:data.rfind(b"\n") + 1].split(b"\n")[:-1]

    def records(self, **members):
        """Every record, or those with these members, e.g. records(event="sign.release", outcome="ok")."""
        every = [json.loads(line) for line in self.lines()]
        return [record for record in every if all(record.get(name) == value for name, value in members.items())]

    def record_of(self, answer):
        """The record that carries the answer's request id."""
        found = self.records(req=answer.request_id)
        assert len(found) == 1, (answer, found)
        return found[0]

    def health(self, path="/readyz", method="GET", raw=None):
        """(status, body) of the health door; raw: bytes to send instead, then what comes back."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            here = os.open(self.dir, os.O_PATH)
            try:
                peer.connect(f"/proc/self/fd/{here}/health.sock")  # a path may be longer than a socket's address
            finally:
                os.close(here)
            peer.sendall(raw if raw is not None else f"{method} {path} HTTP/1.1\r\nHost: kmsd\r\n\r\n".encode())
            got = b""
            while part := peer.recv(65536):
                got += part
        if raw is not None:
            return got
        head, _, body = got.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def check_chain(self):
        prev = "0" * 64
        for number, line in enumerate(self.lines()):
            record = json.loads(line)
            assert record["seq"] == number and record["prev"] == prev and canonical(record) == line
            prev = sha256(line)

    def wait(self, condition, seconds=30, what="condition"):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{what} did not come true within {seconds} s")


def b64(text):
    return base64.b64decode(text, validate=True)


def pae(payload, payload_type="application/vnd.in-toto+json"):
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
