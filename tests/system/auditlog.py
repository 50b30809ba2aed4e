"""Writes audit logs as docs/log-format.md describes them, with nothing of kmsd: Python's standard library, openssl and ssh-keygen."""
import base64
import copy
import datetime
import hashlib
import json
import os
import subprocess

ZEROS = "0" * 64
INSTANCE = "5a" * 16
BOOT = "b0" * 16
RULES = b"""version: 1
roles:
  admin:
    - name: all
      allow: [key.create, key.suspend, key.resume, key.retire, key.compromise, key.destroy, key.restore, renew, policy.apply, identity.create, identity.disable, identity.enable, release.withdraw, time.confirm]
  ci:
    - {name: sign, allow: [sign], keys: ['*'], apps: ['*'], channels: ['*']}
grants:
  - {role: admin, to: ['kind:human']}
  - {role: ci, to: ['kind:ci']}
"""
POLICY_1 = RULES + b"# first policy\n"
POLICY_2 = RULES + b"# a policy that is too long for a record\n" * 150


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def b64(data):
    return base64.b64encode(data).decode()


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def run(*argv, data=None, **kw):
    return subprocess.run(argv, input=data, check=True, capture_output=True, **kw).stdout


BIRTH = {"allowed_mechanisms": ["CKM_ECDSA"], "mechanism_generate": "CKM_EC_KEY_PAIR_GEN", "not_enforced": [], "probe": "ok", "always_sensitive": True,
         "copyable": False, "decrypt": False, "derive": False, "extractable": False, "local": True, "modifiable": False, "never_extractable": True,
         "private": True, "sensitive": True, "sign": True, "sign_recover": False, "unwrap": False,
         "token": {"firmware": "2.6", "label": "keys", "manufacturer": "maker", "model": "model", "module": "/usr/lib/module.so", "module_sha256": "44" * 32,
                   "serial": "0123"}}


class Keys:
    """Key material on disk, made once for all logs."""

    def __init__(self, folder):
        self.folder = str(folder)
        for name in ("release", "other", "spare", "ca", "job"):
            run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.path(name + ".key"))
        self.spki = {n: run("openssl", "pkey", "-in", self.path(n + ".key"), "-pubout", "-outform", "DER") for n in ("release", "other", "spare", "ca")}
        for name in ("admin", "stranger"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody@example", "-f", self.path(name))
        self.ssh = {n: " ".join(open(self.path(n + ".pub")).read().split()[:2]) for n in ("admin", "stranger")}
        self._certificates()

    def path(self, name):
        return os.path.join(self.folder, name)

    def _certificates(self):
        with open(self.path("client.cnf"), "w") as f:
            f.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n")
        run("openssl", "req", "-x509", "-new", "-key", self.path("ca.key"), "-subj", "/CN=ca", "-days", "3000", "-out", self.path("ca.pem"))
        self.ca_pem = open(self.path("ca.pem")).read()
        self.ca_der = run("openssl", "x509", "-in", self.path("ca.pem"), "-outform", "DER")
        self.ca_not_after = self._end(self.path("ca.pem"))
        self.cert = {}
        for name, key, subject in (("job", "job", "ci-issued"), ("again", "job", "ci-issued"), ("third", "job", "ci-issued"),
                                   ("stolen", "spare", "ci-issued"), ("named", "spare", "somebody"), ("person", "spare", "")):
            self._issue(name, key, subject)
        self.job_csr, self.job_der = self.cert["job"]["csr"], self.cert["job"]["der"]

    def _issue(self, name, key, subject):
        """A certificate of the CA: its signing request, its bytes, and the credential that it makes."""
        csr, pem = self.path(name + ".csr"), self.path(name + ".pem")
        run("openssl", "req", "-new", "-key", self.path(key + ".key"), "-subj", "/CN=" + subject if subject else "/", "-out", csr)
        run("openssl", "x509", "-req", "-in", csr, "-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"), "-CAcreateserial",
            "-days", "1200", "-extfile", self.path("client.cnf"), "-out", pem)
        der = run("openssl", "x509", "-in", pem, "-outform", "DER")
        spki = run("openssl", "pkey", "-in", self.path(key + ".key"), "-pubout", "-outform", "DER")
        self.cert[name] = {"csr": open(csr).read(), "der": der, "credential": {
            "kind": "certificate", "cert_sha256": sha256(der), "spki_sha256": sha256(spki),
            "not_after": self._end(pem), "issued": True}}

    def _end(self, pem):
        end = run("openssl", "x509", "-in", pem, "-noout", "-enddate", "-dateopt", "iso_8601").decode()
        return end.strip().split("=")[1].replace(" ", "T").replace("Z", ".000000Z")

    def pem(self, name):
        return open(self.path(name + ".pem")).read()

    def bound(self, name):
        """The credential that a certificate makes that the service did not issue."""
        if name == "ca":
            return dict(self.cert["job"]["credential"], issued=False, cert_sha256=sha256(self.ca_der), spki_sha256=sha256(self.spki["ca"]),
                        not_after=self.ca_not_after)
        return dict(self.cert[name]["credential"], issued=False)

    def sign(self, key, data):
        return run("openssl", "dgst", "-sha256", "-sign", self.path(key + ".key"), data=data)

    def ssh_sign(self, key, message, namespace="kmsd-request@v1"):
        armour = run("ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", self.path(key), data=message).decode()
        return "".join(line for line in armour.split("\n") if line and not line.startswith("-----"))


class Log:
    def __init__(self, keys):
        self.keys = keys
        self.records = []
        self.lines = []
        self.blobs = {}
        self.clock = 0
        self.nonces = 0
        self.policy = sha256(POLICY_1)

    def copy(self):
        keys, self.keys = self.keys, None
        other = copy.deepcopy(self)
        self.keys = other.keys = keys
        return other

    # One record: the common members, then what the event has.
    def add(self, event, outcome, actor, **members):
        self.clock += 1
        record = {"v": 1, "seq": len(self.lines), "prev": self.hash(-1), "boot": BOOT, "event": event, "outcome": outcome, "actor": actor,
                  "time": "2026-03-03T08:%02d:%02d.%06dZ" % (self.clock // 60, self.clock % 60, self.clock),
                  "req": "" if actor["kind"] == "system" else "%032x" % self.clock}
        record.update(members)
        self.records.append(record)
        self.lines.append(canonical(record))
        return record

    def hash(self, seq):
        return sha256(self.lines[seq]) if self.lines else ZEROS

    def head(self, seq=-1):
        seq %= len(self.lines)
        return "%d:%s" % (seq, self.hash(seq))

    def rechain(self, first):
        """Gives the records from `first` on new lines and a consistent chain, as somebody who rewrites history would."""
        for seq in range(first, len(self.records)):
            self.records[seq]["seq"] = seq
            self.records[seq]["prev"] = self.hash(seq - 1) if seq else ZEROS
            self.lines[seq:seq + 1] = [canonical(self.records[seq])]

    SYSTEM = {"name": "kmsd", "kind": "system", "cred": "", "method": "internal"}
    ADMIN = {"name": "h-00112233445566aa", "kind": "human", "cred": "ad" * 32, "method": "mtls"}
    CI = {"name": "ci-issued", "kind": "ci", "method": "mtls"}

    def ci(self, cert="job"):
        return dict(self.CI, cred=sha256(self.keys.cert[cert]["der"]))

    def genesis(self):
        k = self.keys
        self.blobs[sha256(POLICY_1)] = POLICY_1
        admin = {"name": self.ADMIN["name"], "kind": "human", "ssh": [k.ssh["admin"]], "credentials": [
            {"kind": "certificate", "cert_sha256": self.ADMIN["cred"], "spki_sha256": "ae" * 32,
             "not_after": "2030-01-01T00:00:00.000000Z", "issued": False}]}
        return self.add("log.genesis", "ok", self.SYSTEM, policy=self.policy, detail={
            "ca": {"birth": BIRTH, "cert_b64": b64(k.ca_der), "key_id": "ca" * 16, "spki_b64": b64(k.spki["ca"])},
            "checkpoint": {"birth": dict(BIRTH, allowed_mechanisms=["CKM_EDDSA"]), "key_id": "cc" * 16, "spki_b64": b64(k.spki["other"])},
            "format": 1, "identities": [admin], "instance": INSTANCE, "mode": "dev", "origin": "dev.example"})

    def start(self):
        return self.add("daemon.start", "ok", self.SYSTEM, detail={
            "boot_id": "f3c6", "module_sha256": "11" * 32, "programs": {"kmsd_core": "22" * 32}, "settings_sha256": "33" * 32, "version": "0.1.0"})

    def request(self, method, path, body, key="admin", nonce=None, namespace="kmsd-request@v1", sign_path=None):
        self.nonces += 1
        nonce = nonce or "%032x" % (0xabc000 + self.nonces)
        message = canonical({"body_sha256": sha256(body), "instance": INSTANCE, "method": method, "nonce": nonce, "path": sign_path or path})
        request = {"method": method, "path": path, "body_sha256": sha256(body), "nonce": nonce,
                   "sshsig_b64": self.keys.ssh_sign(key, message, namespace)}
        if len(body) > 4096:
            self.blobs[sha256(body)] = body
            return dict(request, blob=sha256(body))
        return dict(request, body_b64=b64(body))

    def person(self, event, method, path, body, outcome="ok", members=None, **how):
        return self.add(event, outcome, self.ADMIN, src="192.0.2.7", rule="admin/all", policy=self.policy, body_sha256=sha256(body),
                        request=self.request(method, path, body, **how), **(members or {}))

    def identity_issued(self, **how):
        k = self.keys
        body = canonical({"name": "ci-issued", "kind": "ci", "csr": k.job_csr, "days": 300})
        cred = k.cert["job"]["credential"]
        return self.person("identity.create", "POST", "/v1/identities", body, members={"detail": {
            "certificate_b64": b64(k.job_der), "identity": {"name": "ci-issued", "kind": "ci", "ssh": [], "credentials": [cred]}}}, **how)

    def renewed(self, cert, person=False, dropped=(), actor=None, name="ci-issued"):
        """Another certificate for an identity, asked for by its job or by a person; it takes the place of those that are dropped."""
        k = self.keys
        detail = {"certificate_b64": b64(k.cert[cert]["der"]), "credential": k.cert[cert]["credential"], "name": name,
                  "dropped": [sha256(k.cert[one]["der"]) for one in dropped]}
        if person:
            return self.person("identity.renew", "POST", "/v1/identities/%s/credentials" % name, canonical({"csr": k.cert[cert]["csr"]}),
                               members={"detail": detail})
        return self.add("identity.renew", "ok", actor or self.ci(), src="192.0.2.9", rule="ci/sign", policy=self.policy, body_sha256="99" * 32,
                        detail=detail)

    def identity_named(self, name="ci-spiffe", value="spiffe://example/ci"):
        k = self.keys
        body = canonical({"name": name, "kind": "ci", "spiffe": value, "ca": k.ca_pem})
        cred = {"kind": "spiffe", "value": value, "ca_spki_sha256": sha256(k.spki["ca"]), "ca_spki_b64": b64(k.spki["ca"])}
        return self.person("identity.create", "POST", "/v1/identities", body,
                           members={"detail": {"identity": {"name": name, "kind": "ci", "ssh": [], "credentials": [cred]}}})

    def policy_apply(self, text=POLICY_2, **how):
        self.blobs[sha256(text)] = text
        record = self.person("policy.apply", "PUT", "/v1/policy", text, members={"detail": {"sha256": sha256(text)}}, **how)
        self.policy = sha256(text)
        return record

    def key_intent(self, name, key_id, asked=None, **how):
        body = canonical(asked or {"name": name, "algorithm": "p256", "scheme": "statement"})
        return self.person("key.create", "POST", "/v1/keys", body, "intent", members={
            "key": {"name": name, "version": 1}, "scheme": "statement", "purpose": "release",
            "detail": {"algorithm": "p256", "key_id": key_id}}, **how)

    def key_result(self, intent, spki):
        return self.add("key.create", "ok", self.ADMIN, key=intent["key"], scheme="statement", purpose="release", intent_seq=intent["seq"],
                        src="192.0.2.7", rule="admin/all", policy=self.policy, body_sha256=intent["body_sha256"],
                        detail=dict(intent["detail"], birth=BIRTH, spki_b64=b64(spki)))

    def key_error(self, intent):
        return self.add("key.create", "error", self.SYSTEM, key=intent["key"], intent_seq=intent["seq"], reason="no-result-before-restart")

    def switch(self, name, what, reason, **how):
        return self.person("identity." + what, "POST", "/v1/identities/%s/%s" % (name, what), canonical({"reason": reason}),
                           members={"reason": reason, "detail": {"name": name}}, **how)

    def life(self, verb, state, name="release", asked=None, reason="so", delay=None, **detail):
        """A change of a key's life. delay: seconds that a destruction is ahead, in the record; asked: what the signed body holds besides or instead."""
        body = dict({"reason": reason}, **(asked or {}))
        if delay is not None:
            at = datetime.datetime(2026, 3, 3, 8, (self.clock + 1) // 60, (self.clock + 1) % 60, self.clock + 1) + datetime.timedelta(seconds=delay)
            detail["due"] = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return self.person("key." + verb, "POST", "/v1/keys/%s/%s" % (name, verb), canonical(body),
                           members={"reason": reason, "key": {"name": name, "version": 1}, "detail": dict({"state": state}, **detail)})

    def erase(self, outcome="intent", intent=None, name="release", key_id="01" * 16, left=0):
        members = {"key": {"name": name, "version": 1}}
        if intent is not None:
            members["intent_seq"] = intent
        if outcome == "error":
            members["reason"] = "token-unavailable"
        else:
            members["detail"] = {"key_id": key_id}
        if outcome == "ok":
            members["detail"].update({"left": left, "private": 1, "public": 1, "token": {"label": "kmsd-keys", "serial": "0a1b"}})
        return self.add("key.erase", outcome, self.SYSTEM, **members)

    def withdraw(self, version, reason="botched"):
        artifact = {"app": "Shop", "channel": "stable", "version": version}
        return self.person("release.withdraw", "POST", "/v1/releases/withdraw", canonical(dict(artifact, reason=reason)),
                           members={"artifact": artifact, "reason": reason})

    def step(self, start="2026-03-03T08:00:00.000000Z", seconds=-3600, end="2026-03-03T07:00:00.000000Z"):
        return self.add("time.step", "ok", self.SYSTEM, detail={"from": start, "seconds": seconds, "to": end})

    def confirm(self, seq, reason="set by hand", asked=None):
        body = canonical(dict({"reason": reason, "seq": seq}, **(asked or {})))
        return self.person("time.confirm", "POST", "/v1/time/confirm", body, members={"reason": reason, "detail": {"seq": seq}})

    def payload(self, record):
        d, a = record["detail"], record["artifact"]
        predicate = {"app": a["app"], "channel": a["channel"], "environment": d["environment"], "instance": INSTANCE, "issued": d["issued"],
                     "key": record["key"], "log_head": d["log_head"], "name": d["name"], "request_id": record["req"], "version": a["version"]}
        predicate.update({n: d[n] for n in ("size",) if n in d})
        predicate.update({n: record[n] for n in ("source_claimed",) if n in record})
        return canonical({"_type": "https://in-toto.io/Statement/v1", "predicate": predicate, "predicateType": "https://kmsd.dev/release/v1",
                          "subject": [{"digest": {"sha256": record["digest"]["hex"]}, "name": d["name"]}]})

    def sign(self, version, name="shop.zip", content=b"app", key="release", head=None, channel="stable", issued=None, cert="job", actor=None, **members):
        head = (len(self.lines) - 1) if head is None else head
        record = self.add("sign.release", "ok", actor or self.ci(cert), src="192.0.2.9", key={"name": "release", "version": 1}, rule="ci/sign", policy=self.policy,
                          artifact={"app": "Shop", "channel": channel, "version": version}, digest={"alg": "sha256", "hex": sha256(content)},
                          scheme="statement", body_sha256="99" * 32, **members)
        record["detail"] = {"environment": "development", "issued": issued or record["time"], "log_head": {"seq": head, "hash": self.hash(head)}, "name": name,
                            "size": len(content)}
        payload = self.payload(record)
        record["signature"] = b64(self.keys.sign(key, b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload))
        self.lines[-1] = canonical(record)
        return record

    def refused(self, **members):
        return self.add("auth.refused", "denied", {"name": "", "kind": "unknown", "cred": "ee" * 32, "method": "mtls"}, src="192.0.2.66",
                        reason="forbidden", **members)

    def write(self, folder, split=None):
        audit = os.path.join(str(folder), "audit")
        os.makedirs(os.path.join(audit, "blobs"))
        split = split if split is not None else len(self.lines)
        for first, part in ((0, self.lines[:split]), (split, self.lines[split:])):
            if part:
                with open(os.path.join(audit, "%020d.jsonl" % first), "wb") as f:
                    f.write(b"".join(line + b"\n" for line in part))
        for name, data in self.blobs.items():
            with open(os.path.join(audit, "blobs", name), "wb") as f:
                f.write(data)
        return audit


def whole(keys):
    """A log of 60 records in which everything occurs."""
    log = Log(keys)
    log.genesis()
    log.start()
    log.identity_issued()
    log.identity_named()
    log.policy_apply()
    log.key_result(log.key_intent("release", "01" * 16), keys.spki["release"])
    log.key_error(log.key_intent("second", "02" * 16))
    log.sign("1.0.0", source_claimed="git:main \u202e\u00e9\"\\ x")
    log.sign("1.0.0", name="shop.apk")
    log.sign("1.1.0", idem="job-7")
    log.switch("ci-spiffe", "disable", "lost laptop")
    log.switch("ci-spiffe", "enable", "found it")
    log.sign("2.0.0")
    log.withdraw("2.0.0")
    log.add("sign.release", "denied", log.ci(), src="192.0.2.9", reason="digest-conflict", key={"name": "release"},
            artifact={"app": "Shop", "channel": "stable", "version": "1.1.0"}, digest={"alg": "sha256", "hex": "77" * 32},
            rule="ci/sign", policy=log.policy)
    log.add("refusal.summary", "ok", log.SYSTEM, detail={
        "items": [{"count": 3, "cred": "ee" * 32, "name": "", "reason": "forbidden", "src": "192.0.2.66"}], "others": 2})
    log.add("daemon.child", "error", log.SYSTEM, reason="ended", detail={"index": 0, "role": "lane-sign"})
    while len(log.lines) < 57:
        log.refused()
    log.sign("2.0.1", head=50)
    log.refused()
    log.add("daemon.stop", "ok", log.SYSTEM, reason="told to")
    return log
