"""What a client was told, and whether the log still says so: the yardstick of every test that breaks something."""
import http.client
import secrets
import time

from kms import BIN, run, sha256


class Acks:
    """Asks until it is answered, under one Idempotency-Key each, and keeps every seq:hash it is told."""

    def __init__(self, kms):
        self.kms, self.told, self.run, self.next = kms, {}, secrets.token_hex(3), 0

    def _until(self, ask, seconds):
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                last = ask()
            except (OSError, http.client.HTTPException, AssertionError) as failure:  # the last one: no nonce was to be had
                last = failure
            else:
                if last.status < 300:
                    self.keep(last)
                    return last
                if last.status < 500:
                    return last
            time.sleep(0.02)
        raise AssertionError(f"no answer within {seconds} s: {last!r}")

    def keep(self, answer):
        record = answer.json.get("record")
        if record:
            self.told[record["seq"]] = record["hash"]

    def _name(self):
        self.next += 1
        return f"{self.run}-{self.next}"

    def sign(self, seconds=20):
        name = self._name()
        body = self.kms.release("1.0.0", name.encode(), app=f"com.example.a{name}")
        answer = self._until(lambda: self.kms.request("ci", "POST", "/v1/sign", body, {"Idempotency-Key": name}), seconds)
        assert answer.status == 200, answer
        return answer

    def create_key(self, seconds=20):
        """A key creation that was cut short is over: 5xx, and what came of it stands in the log. The next one has another name."""
        body = {"name": f"k{self._name()}", "algorithm": "p256", "scheme": "statement"}
        answer = self._until(lambda: self.kms.signed("POST", "/v1/keys", body), seconds)
        assert answer.status in (201, 202) or (answer.status == 409 and answer.slug), answer
        if answer.status == 202:
            self.kms.wait(lambda: [r for r in self.kms.records(event="key.create") if r["key"]["name"] == body["name"] and r["outcome"] != "intent"], seconds,
                          "the end of a creation")
        return body["name"]

    def change_key(self, name, verb, seconds=20, **members):
        """A change that was recorded though its answer was lost is refused the second time."""
        answer = self._until(lambda: self.kms.signed("POST", f"/v1/keys/{name}/{verb}", {"reason": "test", **members}), seconds)
        assert answer.status == 200 or answer.slug == "key-state", answer

    def doom_key(self, seconds=20):
        """A key that may be destroyed next."""
        self.doomed = self.create_key(seconds)
        while not self.kms.records(event="key.create", outcome="ok", key={"name": self.doomed, "version": 1}):
            self.doomed = self.create_key(seconds)
        self.change_key(self.doomed, "suspend", seconds)

    def destroy_key(self, seconds=60):
        self.change_key(self.doomed, "destroy", seconds, delay_seconds=1)
        self.kms.wait(lambda: self._until(lambda: self.kms.request("admin", "GET", f"/v1/keys/{self.doomed}"), seconds).json["state"] == "destroyed", seconds,
                      f"the destruction of {self.doomed}")

    def apply_policy(self, text, seconds=20):
        answer = self._until(lambda: self.kms.signed("PUT", "/v1/policy", text, {"Content-Type": "application/yaml"}), seconds)
        assert answer.status == 200, answer
        return answer

    def check(self):
        """The log is sound, holds everything that was told, and no key signed that was not recorded as made."""
        self.kms.check_chain()
        lines = self.kms.lines()
        missing = {seq: hash for seq, hash in self.told.items() if seq >= len(lines) or sha256(lines[seq]) != hash}
        assert not missing, missing
        made = {record["key"]["name"] for record in self.kms.records(event="key.create", outcome="ok")}
        used = {record["key"]["name"] for record in self.kms.records(event="sign.release", outcome="ok")}
        assert used <= made
        ended = [r["intent_seq"] for r in self.kms.records(event="key.erase", outcome="ok")]
        assert ended == [r["seq"] for r in self.kms.records(event="key.erase", outcome="intent")], "a removal was begun and not done, or done twice"
        audit = run(BIN / "kms-audit", "verify", self.kms.dir, check=False)
        assert audit.returncode == 0, audit.stdout.decode() + audit.stderr.decode()
