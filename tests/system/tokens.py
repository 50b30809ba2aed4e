"""Tokens that the tests put behind a lane: each one prepares a directory with kmsd.yaml, a PIN file and one key that is no release key.

Daemons that a token needs run in its directory and are ended by pid. A token whose programs are missing says so: Missing."""
import json
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from lane import BUILD, PROGRAM, ROOT, Lane, wait_for

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
LIB = Path("/usr/lib/x86_64-linux-gnu")
MODULES = BUILD / "tests/token"
CA_ID = bytes.fromhex("00112233445566778899aabbccddeeff")
PIN = "correct-horse-battery-staple-9"
SETTINGS = """version: 1
instance: test.example
listen: {{ci: 127.0.0.1:0, admin: 127.0.0.1:0}}
tls: {{certificate: tls/server.pem, key: tls/server.key, client_ca: [tls/ca.pem]}}
tokens:
  lock: tokens/lock
  keys:
    module: {module}
    label: kmsd-keys
    pin_file: pin-keys
{more}  checkpoint:
    module: {module}
    label: kmsd-checkpoint
    pin_file: pin-checkpoint
    softhsm_conf: tokens/checkpoint/softhsm2.conf
    sync: tokens/checkpoint/store
audit: {{directory: audit}}
limits: {{connections: 1024, connections_per_peer: 256, request_seconds: 15, body_bytes: 65536}}
"""
SOFTHSM_FILES = "    softhsm_conf: tokens/keys/softhsm2.conf\n    sync: tokens/keys/store\n"
SOFTHSM_MORE = SOFTHSM_FILES + "    sign_ahead: 0\n"  # each fault meets the call it is meant for


def settings_text(module, more=SOFTHSM_MORE):
    """kmsd.yaml. more: what this module needs for the token of the keys."""
    return SETTINGS.format(module=module, more=more)


class Missing(Exception):
    """What this token needs is not installed, or not allowed here."""


def need(*programs):
    for program in programs:
        if not (os.path.exists(program) if "/" in str(program) else shutil.which(program)):
            raise Missing(f"{program} is not installed")


def build_modules():
    """The modules of tests/token, made when they are missing or older than their source."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    subprocess.run(["make", "-s", "--no-print-directory", "-C", str(ROOT), f"B={BUILD}", "token-modules"], env=env, capture_output=True, check=True)


class Shim:
    """A copy of the shim module in a directory, before a real module; rules change while it runs."""
    ROW = struct.Struct("=32sQQ")
    FUNCTIONS, SLOTS = 67, 4096

    def __init__(self, directory, real):
        self.module, self.real = directory / "shim.so", real
        self.rules, self.state = directory / "shim.so.rules", directory / "shim.so.state"
        shutil.copy(MODULES / "kmsd-p11-shim.so", self.module)
        self.state.write_bytes(bytes(self.ROW.size * self.FUNCTIONS + 8 * self.SLOTS))
        self.used = 0
        self.set()

    def set(self, *rules):
        """Replaces all rules, e.g. set("C_Sign first:1 fail:0x30"); none = the module behind as it is."""
        lines = [f"real {self.real}", f"state {self.state}"]
        for rule in rules:
            self.used += 1
            lines.append(f"rule {self.used} {rule}")
        fresh = self.rules.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self.rules)

    def _row(self, function):
        for name, calls, faults in self.ROW.iter_unpack(self.state.read_bytes()[:self.ROW.size * self.FUNCTIONS]):
            if name.rstrip(b"\0").decode() == function:
                return calls, faults
        return 0, 0

    def calls(self, function):
        """How often it was called since the beginning, by all processes together."""
        return self._row(function)[0]

    def faults(self, function):
        return self._row(function)[1]


class Token:
    """What a lane needs to find its token. kind.ec: makes P-256 keys. kind.loose: attributes of a key that it does not hold to."""
    name, ec, loose = "", True, ()
    label, ca_label = "kmsd-keys", "kmsd:ca"

    def __init__(self, directory):
        self.dir, self.env, self.prefix, self.children = directory, {}, [], []
        self.module, self.more = "", ""
        self.ca_id, self.pin = CA_ID, PIN
        self.shim = None
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    def prepare(self):
        raise NotImplementedError

    def write(self, pin=None):
        """kmsd.yaml and the PIN file, as the members say."""
        (self.dir / "tokens").mkdir(exist_ok=True)
        (self.dir / "kmsd.yaml").write_text(settings_text(self.shim.module if self.shim else self.module, self.more))
        self.write_pin(pin or self.pin)

    def write_pin(self, pin):
        path = self.dir / "pin-keys"
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(pin + "\n")

    def behind_shim(self):
        """From now on lanes reach the token through the shim."""
        self.shim = Shim(self.dir, self.module)
        self.write()
        return self

    def lane(self, kind, **options):
        return Lane(self.dir, kind, env=self.env, prefix=self.prefix, **options)

    def start(self, *argv, **options):
        """A daemon of this token; close ends it."""
        log = open(self.dir / f"{Path(argv[0]).name}.log", "ab")
        with log:
            child = subprocess.Popen([*map(str, argv)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.env}, **options)
        self.children.append(child)
        return child

    def run(self, *argv, check=True):
        return subprocess.run([*self.prefix, *map(str, argv)], env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=30, check=check)

    def close(self):
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.children = []


class SoftHSM(Token):
    name = "softhsm"

    def prepare(self):
        need(SOFTHSM)
        self.module = SOFTHSM
        self.more = SOFTHSM_MORE
        self.write()
        (self.dir / "pin-keys").unlink()
        made = json.loads(self.run(PROGRAM, "--settings", self.dir / "kmsd.yaml", "--setup", "--origin", "test.example").stdout)
        self.ca_id, self.pin = bytes.fromhex(made["ca"]["key_id"]), (self.dir / "pin-keys").read_text().strip()


class ShimmedSoftHSM(SoftHSM):
    name = "softhsm-shim"

    def prepare(self):
        super().prepare()
        self.behind_shim()


class Fake(Token):
    """tests/token/fake.c; modes are the numbers of its enum."""
    name, loose = "fake", ("allowed_mechanisms", "copyable")   # an unknown kind of token is not taken at its word
    WRONG_PUBLIC, HIDE_PRIVATE, EXTRACTABLE, WRONG_SIGNATURE, PICKY, ABSENT, BARE_POINT, FORGETFUL = (1 << n for n in range(8))
    HEAD, RECORD, RECORDS = struct.Struct("=QQQ64s"), struct.Struct("=Q16s160s"), 256

    def prepare(self):
        self.module = self.dir / "fake.so"
        shutil.copy(MODULES / "kmsd-p11-fake.so", self.module)
        size = self.HEAD.size + self.RECORD.size * self.RECORDS
        (self.dir / "fake.so.store").write_bytes(self.HEAD.pack(0, 0, 0, self.pin.encode()).ljust(size, b"\0"))
        with open(self.dir / "fake.so.store", "r+b") as file:
            self.store = mmap.mmap(file.fileno(), size)
        self.add(CA_ID, "kmsd:ca")
        self.write()

    def add(self, key_id, label):
        """A key that nobody generated."""
        modes, wrong, n, pin = self.HEAD.unpack_from(self.store)
        self.RECORD.pack_into(self.store, self.HEAD.size + n * self.RECORD.size, 1, key_id, label.encode())
        self.HEAD.pack_into(self.store, 0, modes, wrong, n + 1, pin)

    def relabel(self, key_id, label):
        at = self.HEAD.size + self.ids().index(key_id) * self.RECORD.size
        self.RECORD.pack_into(self.store, at, 1, key_id, label.encode())

    def mode(self, modes):
        struct.pack_into("=Q", self.store, 0, modes)

    @property
    def wrong_pins(self):
        return struct.unpack_from("=Q", self.store, 8)[0]

    @wrong_pins.setter
    def wrong_pins(self, count):
        struct.pack_into("=Q", self.store, 8, count)

    def ids(self):
        """The ids of the keys on the token."""
        n = struct.unpack_from("=Q", self.store, 16)[0]
        records = [self.RECORD.unpack_from(self.store, self.HEAD.size + k * self.RECORD.size) for k in range(n)]
        return [key_id for used, key_id, _ in records if used]


class Tpm(Token):
    """tpm2-pkcs11 over the resource manager over a software TPM."""
    name, loose = "tpm2", ("copyable", "modifiable")

    def prepare(self):
        self.module = LIB / "libtpm2_pkcs11.so.1"
        need("swtpm", "tpm2-abrmd", "dbus-daemon", "tpm2_ptool", "pkcs11-tool", self.module, LIB / "libtss2-tcti-tabrmd.so.0")
        sock, bus, store = self.dir / "tpm.sock", self.dir / "bus", self.dir / "tpm-store"
        for directory in (self.dir / "tpm-state", store):
            directory.mkdir()
        self.start("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir / 'tpm-state'}", "--server", f"type=unixio,path={sock}",
                   "--ctrl", f"type=unixio,path={sock}.ctrl", "--flags", "not-need-init,startup-clear")
        self.start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={bus}")
        wait_for(lambda: sock.exists() and bus.exists(), 10, "the TPM and the bus")
        self.env = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}", "TPM2_PKCS11_STORE": str(store), "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
                    "TPM2TOOLS_TCTI": "tabrmd:bus_type=session", "TPM2_PKCS11_LOG_LEVEL": "0"}
        self.start("tpm2-abrmd", "--session", f"--tcti=swtpm:path={sock}", *(["--allow-root"] if os.geteuid() == 0 else []))
        wait_for(lambda: self.run("tpm2_getrandom", "--hex", "4", check=False).returncode == 0, 10, "the resource manager")
        self.run("tpm2_ptool", "init", "--path", store)
        self.run("tpm2_ptool", "addtoken", "--pid=1", f"--label={self.label}", f"--userpin={self.pin}", "--sopin=officer-officer", f"--path={store}")
        self.run("pkcs11-tool", "--module", self.module, "--token-label", self.label, "--login", "--pin", self.pin, "--keypairgen", "--key-type",
                 "EC:prime256v1", "--id", CA_ID.hex(), "--label", "kmsd:ca")
        self.write()


class Nss(Token):
    """NSS softokn: a database, no daemon; it copies keys in the clear whatever their attributes say, so births must not say otherwise."""
    name, ca_label, loose = "nss", "", ("extractable", "copyable")

    def prepare(self):
        self.module = LIB / "libsoftokn3.so"
        need(self.module, "certutil")
        database = self.dir / "nss"
        database.mkdir()
        self.more = (f"    type: nss\n    initialise: \"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags= "
                     f"dbTokenDescription='{self.label}'\"\n")
        self.write()
        noise = self.dir / "noise"
        noise.write_bytes(os.urandom(64))
        self.run("certutil", "-N", "-d", f"sql:{database}", "-f", self.dir / "pin-keys")
        self.run("certutil", "-G", "-k", "ec", "-q", "nistp256", "-d", f"sql:{database}", "-f", self.dir / "pin-keys", "-z", noise)
        listed = self.run("certutil", "-K", "-d", f"sql:{database}", "-f", self.dir / "pin-keys").stdout.decode()
        self.ca_id = bytes.fromhex(listed.split(" ec ")[1].split()[0])


class OpenCryptoki(Token):
    """opencryptoki's software token in a mount namespace of its own: its paths are fixed. It knows RSA only, and three wrong PINs lock it."""
    name, ec = "opencryptoki", False

    def prepare(self):
        self.module = LIB / "pkcs11/libopencryptoki.so"
        need("/usr/sbin/pkcsslotd", self.module, "unshare", "nsenter", "pkcs11-tool")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
            raise Missing("opencryptoki needs a mount namespace, which is not allowed here")
        lib, lock, etc = self.dir / "ock-lib", self.dir / "ock-lock", self.dir / "ock-etc"
        for directory in (lib / "swtok/TOK_OBJ", lock / "swtok", etc):
            directory.mkdir(parents=True)
        for directory in (lib, lib / "swtok", lib / "swtok/TOK_OBJ", lock, lock / "swtok"):
            shutil.chown(directory, group="pkcs11")
            directory.chmod(0o770)
        (etc / "opencryptoki.conf").write_text("version opencryptoki-3.1\nslot 0\n{\nstdll = libpkcs11_sw.so\n}\n")
        script = (f"mount -t tmpfs none /run && mkdir -p /run/lock && mkdir -p /var/lock/opencryptoki && mount --bind {lib} /var/lib/opencryptoki && "
                  f"mount --bind {lock} /var/lock/opencryptoki && mount --bind {etc} /etc/opencryptoki && exec /usr/sbin/pkcsslotd -f")
        daemon = self.start("unshare", "-m", "--propagation", "private", "sh", "-c", script)
        self.prefix = ["nsenter", "-t", str(daemon.pid), "-m", f"--wd={self.dir}"]
        self.pin = "correct9"
        tool = ("pkcs11-tool", "--module", self.module, "--slot", "0")
        wait_for(lambda: self.run(*tool, "-L", check=False).returncode == 0, 10, "the slot daemon")
        self.run(*tool, "--init-token", "--label", self.label, "--so-pin", "87654321")
        self.run(*tool, "--login", "--login-type", "so", "--so-pin", "87654321", "--init-pin", "--pin", self.pin)
        self.run(*tool, "--login", "--pin", self.pin, "--keypairgen", "--key-type", "rsa:2048", "--id", CA_ID.hex(), "--label", "kmsd:ca")
        self.write()


KINDS = (SoftHSM, ShimmedSoftHSM, Fake, Nss, Tpm, OpenCryptoki)
