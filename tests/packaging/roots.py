"""A clean Debian 12 in a directory: made once, copied for each run, booted with its own systemd where this machine allows it."""
import os
import shutil
import subprocess
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CACHE = TOP / "build/packaging"
BASE = CACHE / "base.tar"
ARCHIVES = CACHE / "archives"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
# What a machine with systemd has besides the smallest Debian.
INCLUDE = "systemd,systemd-sysv,dbus,ca-certificates"
BOOT_SECONDS = 60
DESK = "/srv/desk"   # where the scripts work, in the root


class Unusable(Exception):
    """This machine cannot do it; the text says why."""


def run(*argv, check=True, timeout=300, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL, **more)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))} ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def make_debian(target, *options):
    """The smallest Debian, from the mirror that this machine's apt uses, as an archive that is kept."""
    if target.exists():
        return target
    if os.geteuid() != 0:
        raise Unusable("a Debian root can only be made as root")
    if not shutil.which("mmdebstrap"):
        raise Unusable("mmdebstrap is not installed (make deps-test)")
    CACHE.mkdir(parents=True, exist_ok=True)
    fresh = CACHE / "fresh.tar"
    source = [SOURCES] if SOURCES.exists() else []
    done = run("mmdebstrap", "--variant=minbase", "--mode=root", "--format=tar", *options, "bookworm", fresh, *source, check=False, timeout=600)
    if done.returncode:
        raise Unusable("no Debian root can be made here: " + " / ".join(done.stderr.strip().splitlines()[-3:]))
    os.replace(fresh, target)
    return target


def make_slim():
    return make_debian(CACHE / "slim.tar")


class Root:
    """A copy of the base in `where`."""

    def __init__(self, where):
        self.dir, self.nspawn, self.leader = Path(where), None, None
        self.desk = self.dir / DESK[1:]
        if not shutil.which("systemd-nspawn"):
            raise Unusable("systemd-nspawn is not installed (make deps-test)")
        make_debian(BASE, f"--include={INCLUDE}", "--skip=cleanup/apt/lists")
        self.dir.mkdir(parents=True)
        run("tar", "-xf", BASE, "-C", self.dir)
        self.desk.mkdir(mode=0o700)
        if (done := self.offline("true", check=False)).returncode:
            raise Unusable(f"systemd-nspawn runs nothing here: {done.stderr.strip()[-300:]}")

    def offline(self, *argv, **more):
        """Runs a program in the root while it is not booted, with the machine's network."""
        ARCHIVES.mkdir(exist_ok=True)
        return run("systemd-nspawn", "-q", "-D", self.dir, "--register=no", "--keep-unit", "--pipe", "--resolv-conf=copy-host",
                   f"--bind={ARCHIVES}:/var/cache/apt/archives", "--setenv=DEBIAN_FRONTEND=noninteractive", *argv, **more)

    def thrown_away(self, script, **more):
        """Runs a script in the root, not booted, with a network of its own; whatever it changes is forgotten."""
        return run("systemd-nspawn", "-q", "-D", self.dir, "--volatile=overlay", "--register=no", "--keep-unit", "--pipe", "--private-network",
                   "--system-call-filter=@memlock", "--setenv=LC_ALL=C.UTF-8", f"--setenv=HOME={DESK}", "sh", "-euc", script, **more)

    def install(self, *packages):
        """Packages by name or by file of this machine; what they need comes from the mirror, or from an earlier run."""
        words = []
        for p in packages:
            if isinstance(p, Path):
                shutil.copy(p, self.dir / "opt")
                words.append(f"/opt/{p.name}")
            else:
                words.append(p)
        install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *words)
        if self.offline(*install, check=False).returncode:
            self.offline("apt-get", "update", "-q")
            self.offline(*install)

    def boot(self):
        """Starts the root's systemd with a network of its own: nothing but a loopback."""
        # A machine lets its services lock memory as far as their limits go; a container only on request.
        self.log = open(self.dir.with_suffix(".boot"), "w")
        self.nspawn = subprocess.Popen(["systemd-nspawn", "-q", "-D", self.dir, "--register=no", "--keep-unit", "--boot", "--private-network",
                                        "--console=read-only", "--system-call-filter=@memlock"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self.nspawn.poll() is None:
            children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            if children:
                self.leader = children[0]
                if self("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"):
                    return
            time.sleep(0.5)
        text = self.dir.with_suffix(".boot").read_text(errors="replace")
        self.stop()
        raise Unusable(f"systemd does not start in a container here: {text[-500:]}")

    def __call__(self, *argv, **more):
        """Runs a program in the booted root."""
        return run("nsenter", "-t", self.leader, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "env", "-i",
                   "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={DESK}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
                   *argv, **more)

    def sh(self, script, **more):
        return self("sh", "-euc", script, **more)

    def stop(self):
        if self.nspawn and self.nspawn.poll() is None:
            self.nspawn.terminate()
            try:
                self.nspawn.wait(20)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        self.nspawn = None
