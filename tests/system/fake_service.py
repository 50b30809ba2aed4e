"""A small HTTPS service that speaks just enough of the API to try kmsctl against: TLS 1.3, client certificates, scripted answers."""
import base64
import hashlib
import http.server
import json
import os
import ssl
import subprocess
import threading

TYPE = "application/vnd.in-toto+json"
INSTANCE = "00112233445566778899aabbccddeeff"


def run(*argv, **kw):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, **kw)


def canonical(obj):
    return json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Pki:
    """A CA, a server and a client certificate, a release key and an SSH key, made with openssl and ssh-keygen."""

    def __init__(self, directory):
        self.dir = directory
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *key, "-keyout", self("ca.key"), "-out", self("ca.pem"), "-subj", "/CN=test CA", "-days", "30")
        self.issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth")
        self.issue("client", "extendedKeyUsage=clientAuth")
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self("release.key"))
        run("openssl", "pkey", "-in", self("release.key"), "-pubout", "-out", self("release.pem"))
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@example.org", "-f", self("id"))
        der = run("openssl", "pkey", "-in", self("release.key"), "-pubout", "-outform", "DER").stdout
        self.keyid = hashlib.sha256(der).hexdigest()

    def __call__(self, name):
        return os.path.join(self.dir, name)

    def issue(self, name, extensions):
        with open(self("ext"), "w") as f:
            f.write(extensions + "\n")
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self(name + ".key"),
            "-out", self(name + ".csr"), "-subj", "/CN=" + name)
        run("openssl", "x509", "-req", "-in", self(name + ".csr"), "-CA", self("ca.pem"), "-CAkey", self("ca.key"), "-CAcreateserial",
            "-out", self(name + ".pem"), "-days", "30", "-extfile", self("ext"))

    def sign(self, payload):
        pae = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)
        sig = run("openssl", "dgst", "-sha256", "-sign", self("release.key"), input=pae).stdout
        return {"payload": base64.b64encode(payload).decode(), "payloadType": TYPE,
                "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(sig).decode()}]}


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body

    def json(self):
        return json.loads(self.body)


def answer(status, obj, content_type=None, **headers):
    """(status, headers, body) of a JSON answer."""
    kind = content_type or ("application/json" if status < 300 else "application/problem+json")
    return status, {"Content-Type": kind, "X-Request-Id": "req-1", **{k.replace("_", "-"): v for k, v in headers.items()}}, json.dumps(obj).encode()


def problem(status, slug, **more):
    return answer(status, {"type": "urn:kmsd:problem:" + slug, "title": "Title of " + slug, "status": status, "detail": "Detail of " + slug + ".",
                           "request_id": "req-1", **more})


class Fake:
    """self.script: answers used up one by one before the default ones; an entry is (status, headers, body), a callable, or "drop"."""

    def __init__(self, pki):
        self.pki, self.requests, self.script, self.nonces = pki, [], [], []
        self.environment = "production"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                self.request.settimeout(20)
                self.request.do_handshake()
                super().setup()

            def handle_one(self):
                rq = Request(self.command, self.path, self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0))))
                outer.requests.append(rq)
                result = outer.reply(rq)
                if result == "drop":
                    self.close_connection = True
                    return
                status, headers, body = result
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = handle_one

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.tls = ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.minimum_version = ssl.TLSVersion.TLSv1_3
        ctx.load_cert_chain(pki("server.pem"), pki("server.key"))
        ctx.load_verify_locations(pki("ca.pem"))
        ctx.verify_mode = ssl.CERT_REQUIRED
        self.server.socket = ctx.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = "https://127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reply(self, rq):
        if self.script and rq.path != "/v1/nonce":
            item = self.script.pop(0)
            return item(rq) if callable(item) else item
        if rq.path == "/v1/nonce":
            self.nonces.append("%032x" % (len(self.nonces) + 1))
            return answer(200, {"expires_in": 60, "instance": INSTANCE, "nonce": self.nonces[-1]})
        if rq.path == "/v1/sign" and "items" in rq.json():
            return self.batch(rq)
        if rq.path == "/v1/sign":
            return answer(200, self.signature(rq.json()))
        return answer(200, {"items": [], "next": None})

    def statement(self, rq, **change):
        predicate = {"app": rq["app"], "channel": rq["channel"], "version": rq["version"], "name": rq.get("name", rq["app"]),
                     "key": {"name": rq["key"], "version": 1}, "instance": INSTANCE, "environment": self.environment,
                     "issued": "2026-03-03T08:09:10.123456Z", "request_id": "req-1", "log_head": {"seq": 41, "hash": "ab" * 32}}
        if "size" in rq:
            predicate["size"] = rq["size"]
        predicate.update(change)
        return canonical({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://kmsd.dev/release/v1", "predicate": predicate,
                          "subject": [{"name": predicate["name"], "digest": {"sha256": rq["digest"]["hex"]}}]})

    def signature(self, rq, **change):
        return {"request_id": "req-1", "key": rq["key"], "key_version": 1, "scheme": "statement", "record": {"seq": 42, "hash": "cd" * 32},
                "envelope": self.pki.sign(self.statement(rq, **change))}

    def batch(self, rq, **slugs):
        """Answers a batch; slugs: name of an artifact without its suffix -> the problem it gets, "503" a passing one."""
        items = []
        for item in rq.json()["items"]:
            slug = slugs.get(item["name"].split(".")[0])
            items.append({"problem": json.loads(problem(503 if slug == "busy" else 409, slug, request_id="req-" + item["name"])[2])} if slug
                         else self.signature(item))
        return answer(200, {"failed": sum("problem" in item for item in items), "items": items})

    def ssh_signed(self, rq):
        """Does Kms-Signature of this request verify with ssh-keygen over the newest nonce?"""
        message = canonical({"body_sha256": hashlib.sha256(rq.body).hexdigest(), "instance": INSTANCE, "method": rq.method,
                             "nonce": self.nonces[-1], "path": rq.path})
        text = rq.headers["Kms-Signature"]
        armour = "-----BEGIN SSH SIGNATURE-----\n" + "\n".join(text[i:i + 70] for i in range(0, len(text), 70)) + "\n-----END SSH SIGNATURE-----\n"
        with open(self.pki("sig"), "w") as f:
            f.write(armour)
        with open(self.pki("id.pub")) as f, open(self.pki("signers"), "w") as g:
            g.write("ada namespaces=\"kmsd-request@v1\" " + f.read())
        done = subprocess.run(["ssh-keygen", "-Y", "verify", "-f", self.pki("signers"), "-I", "ada", "-n", "kmsd-request@v1", "-s",
                               self.pki("sig")], input=message, capture_output=True, check=False)
        return done.returncode == 0
