"""The Debian packages on a clean machine: built, checked by lintian, installed, run by systemd as the unit says, upgraded, removed; the data stay."""
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

import roots
from roots import DESK, TOP, run

DEB = TOP / "build/deb"
CI = f"KMS_ADDR=https://127.0.0.1:8443 KMS_CACERT={DESK}/ca.pem KMS_CERT={DESK}/ci.pem KMS_KEY={DESK}/ci.key"
ADMIN = f"KMS_ADDR=https://127.0.0.1:8443 KMS_ADMIN_ADDR=https://127.0.0.1:8444 KMS_CACERT={DESK}/ca.pem KMS_CERT={DESK}/admin.pem " \
        f"KMS_KEY={DESK}/admin.key KMS_SSH_KEY={DESK}/admin_ssh"
POLICY = """version: 1
roles:
  administrator:
    - name: administer
      allow: [key.list, key.read, key.create, policy.read, policy.check, policy.apply, identity.list, identity.read, identity.create, status.read]
  shop:
    - name: sign-shop
      allow: [sign]
      keys: [shop]
      apps: [com.example.shop]
      channels: [stable]
    - name: look
      allow: [key.read, status.read]
grants:
  - {role: administrator, to: [founders]}
  - {role: shop, to: ['identity:build']}
"""


@pytest.fixture(scope="module")
def debs():
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh"):
        pytest.skip("dpkg-dev and debhelper are not installed (make deps-test)")
    run("make", "-C", TOP, "deb", timeout=900)
    found = {p.name.split("_")[0]: p for p in DEB.glob("*.deb")}
    assert {"kmsd", "kmsd-client", "libkms0", "libkms-dev"} <= set(found)
    return found


def test_lintian(debs):
    if not shutil.which("lintian"):
        pytest.skip("lintian is not installed (make deps-test)")
    done = run("lintian", "--allow-root", "--no-cfg", "--fail-on", "error,warning", *DEB.glob("kmsd_*.changes"), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_built_again_it_is_the_same(debs, tmp_path):
    """Anybody can check that a package comes from these sources: byte for byte, from another directory."""
    if not os.environ.get("KMS_LONG"):
        pytest.skip("builds everything a second time: make test-package")
    run(TOP / "packaging/deb.sh", tmp_path, re.search(r"^VERSION := (.*)", (TOP / "Makefile").read_text(), re.M)[1], timeout=900)
    for name, deb in debs.items():
        assert deb.read_bytes() == (tmp_path / deb.name).read_bytes(), name


def test_documents_lie_where_they_are_named(debs):
    """The unit names README.md, README.md the others: none is compressed under another name."""
    names = run("dpkg-deb", "-c", debs["kmsd"]).stdout
    unit = run("sh", "-c", f"dpkg-deb --fsys-tarfile {debs['kmsd']} | tar xO ./lib/systemd/system/kmsd.service").stdout
    for path in ("/usr/share/doc/kmsd/operations.md", re.search(r"file://(\S+)", unit)[1], "/usr/share/doc/kmsd/softhsm.md"):
        assert f".{path}\n" in names, path


def test_what_building_needs():
    """The package asks for every library that the project's own list names; nothing else tells a builder."""
    listed = re.search(r"^DEPS := ((?:.*\\\n)*.*)", (TOP / "tests/tests.mk").read_text(), re.M)[1].split()
    control = (TOP / "packaging/debian/control").read_text()
    asked = set(re.findall(r"^ ([a-z0-9.-]+),$", control[control.index("Build-Depends:"):control.index("Package: kmsd\n")], re.M))
    missing = {p for p in listed if p.endswith("-dev") and p != "libc6-dev"} - asked
    assert not missing and {"scdoc", "pkg-config"} <= asked


def test_who_holds_what(debs):
    """Every file of make install is in exactly one package."""
    owner = {}
    for name, deb in debs.items():
        if name.endswith("-dbgsym"):
            continue
        for line in run("dpkg-deb", "-c", deb).stdout.splitlines():
            path = line.split(None, 5)[5].split(" -> ")[0]
            if not path.endswith("/") and not re.search(r"/(changelog|copyright)", path):
                assert path not in owner, path
                owner[path] = name
    assert owner["./usr/bin/kmsd"] == "kmsd" and owner["./usr/bin/kmsctl"] == owner["./usr/bin/kms-audit"] == "kmsd-client"
    assert owner["./lib/systemd/system/kmsd.service"] == "kmsd" and "./usr/lib/sysusers.d/kmsd.conf" in owner
    assert [n for p, n in owner.items() if p.endswith("libkms.so.0")] == ["libkms0"] and owner["./usr/include/kms.h"] == "libkms-dev"
    assert not any(p.startswith(("./var", "./etc", "./run")) for p in owner)


@pytest.fixture(scope="module")
def installed(debs, tmp_path_factory):
    """A clean Debian with the packages, not booted."""
    try:
        root = roots.Root(tmp_path_factory.mktemp("machine") / "root")
    except roots.Unusable as why:
        pytest.skip(str(why))
    root.install("libsofthsm2", "openssl", "openssh-client", debs["kmsd"], debs["kmsd-client"], debs["libkms0"])
    return root


@pytest.fixture(scope="module")
def machine(installed):
    """The same, run by its own systemd."""
    try:
        installed.boot()
    except roots.Unusable as why:
        pytest.skip(str(why))
    yield installed
    installed.stop()


PREPARE = f"""
        cd {DESK}; umask 022
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout admin.key -subj / -out /tmp/admin.csr 2>/dev/null
        ssh-keygen -q -t ed25519 -N '' -C '' -f admin_ssh; cp admin_ssh.pub /tmp/admin.pub
        """
ADMINISTER = f"""
        cd {DESK}; export {ADMIN}
        kmsctl key create shop --algorithm p256 --scheme statement
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ci.key -subj / -out ci.csr 2>/dev/null
        kmsctl identity create build --kind ci --csr ci.csr --cert-out ci.pem
        kmsctl policy check policy.yaml
        kmsctl policy apply policy.yaml
        kmsctl key public shop > shop.pem
        """
SIGN = f"""
        cd {DESK}; export {CI}
        head -c 100000 /dev/urandom > shop.zip
        kmsctl sign shop.zip --version 1.0.0 --key shop --app com.example.shop --channel stable
        kmsctl statement pae shop.zip.dsse.json --signature-out sig > pae
        openssl dgst -sha256 -verify shop.pem -signature sig pae
        kmsctl verify shop.zip shop.zip.dsse.json --pub shop.pem --app com.example.shop --channel stable
        kms-audit verify /var/lib/kmsd
        """


def steps_of_readme(root):
    """What README.Debian tells to type; kmsd(8) has the same."""
    steps = re.findall(r"^  (.*)\n", (root.dir / "usr/share/doc/kmsd/README.Debian").read_text(), re.M)
    assert len(steps) == 5 and "\n".join(steps) in (TOP / "packaging/man/kmsd.8.scd").read_text()
    return steps


def test_without_systemd(installed):
    """The main job where nothing but the packages is there: the service as its unit says, started by hand."""
    (installed.dir / "opt/policy.yaml").write_text(POLICY)
    shutil.copy(Path(__file__).parent / "run_unit.sh", installed.dir / "opt")
    steps = [step for step in steps_of_readme(installed) if not step.startswith("systemctl")]
    done = installed.thrown_away(PREPARE + "\n".join(steps) + """
        cp /var/lib/kmsd/admin.pem /var/lib/kmsd/tls/ca.pem /opt/policy.yaml .
        /opt/run_unit.sh /lib/systemd/system/kmsd.service & service=$!
        ready=; for _ in $(seq 60); do if (export """ + ADMIN + """; kmsctl whoami >/dev/null 2>&1); then ready=1; break; fi; sleep 1; done
        test -n "$ready"
        test "$(stat -c %U /proc/$service)" = kmsd""" + ADMINISTER + SIGN + """
        kill -TERM $service; wait $service
        echo ended in order""")
    assert "Verified OK" in done.stdout and done.stdout.rstrip().endswith("ended in order"), done.stdout + done.stderr
    assert not list((installed.dir / "var/lib/kmsd").iterdir())


def test_nothing_runs_before_init(machine, debs):
    assert machine("systemctl", "is-enabled", "kmsd", check=False).stdout.strip() == "disabled"
    assert machine("systemctl", "is-active", "kmsd", check=False).stdout.strip() == "inactive"
    assert machine("stat", "-c", "%U:%G %a", "/var/lib/kmsd", "/etc/kmsd").stdout.split() == ["kmsd:kmsd", "750", "root:root", "700"]
    assert machine("getent", "passwd", "kmsd").stdout.strip().endswith(":/var/lib/kmsd:/usr/sbin/nologin")
    assert machine("ls", "-A", "/var/lib/kmsd").stdout == ""
    # Nor does an upgrade start what nobody has started.
    machine("dpkg", "-i", f"/opt/{debs['kmsd'].name}")
    assert machine("systemctl", "is-active", "kmsd", check=False).stdout.strip() == "inactive" and machine("ls", "-A", "/var/lib/kmsd").stdout == ""


def test_init_and_start(machine):
    """The steps of README.Debian as they stand there."""
    machine.sh(PREPARE + "\n".join(steps_of_readme(machine)) + """
        cp /var/lib/kmsd/admin.pem /var/lib/kmsd/tls/ca.pem .""")
    state = machine("systemctl", "show", "kmsd", "-p", "ActiveState,User,MainPID,NRestarts").stdout
    assert "ActiveState=active" in state and "User=kmsd" in state and "NRestarts=0" in state, state
    pid = re.search(r"MainPID=(\d+)", state)[1]
    assert machine("readlink", f"/proc/{pid}/exe").stdout.strip() == "/usr/bin/kmsd"
    status = machine("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"^NoNewPrivs:\s1$", status, re.M) and re.search(r"^CapBnd:\s0+$", status, re.M)
    assert "0 problems" in machine("kmsd", "check", "--dir", "/var/lib/kmsd").stdout
    # The PINs are credentials of the unit, in no file of the account.
    assert machine.sh("grep -rl \"$(cat /etc/kmsd/pin-keys)\" /var/lib/kmsd || true").stdout == ""


def test_administration(machine):
    (machine.desk / "policy.yaml").write_text(POLICY)
    machine.sh(ADMINISTER)
    assert "build" in machine.sh(f"{ADMIN} kmsctl identity list").stdout


def test_sign_and_verify(machine):
    """A CI job's own credentials; openssl and nothing of ours decides."""
    machine.sh(SIGN)
    assert machine.sh(f"cd {DESK}; {CI} kmsctl sign shop.zip --version 1.0.1 --key shop --app com.example.shop --channel beta", check=False).returncode == 1


def test_under_the_unit_nothing_is_missing(machine):
    """Every process runs, confined, and says nothing is wrong: the unit's walls take nothing away that kmsd needs."""
    messages = machine("journalctl", "-u", "kmsd", "--no-pager", "-o", "cat").stdout
    assert not re.search(r"level=error|Operation not permitted|status=", messages), messages
    assert {name for name, *_ in children(machine)} == {p.name for p in (machine.dir / "usr/libexec/kmsd").iterdir()}


def children(machine):
    """(program, niceness, scheduling class) of each process of the service."""
    pid = main_pid(machine)
    lines = machine.sh(f"for p in $(cat /proc/{pid}/task/{pid}/children); do readlink /proc/$p/exe; cut -d ' ' -f 19,41 /proc/$p/stat; done").stdout.splitlines()
    return [(Path(program).name, *map(int, numbers.split())) for program, numbers in zip(lines[::2], lines[1::2])]


def test_under_the_unit_who_goes_first(machine):
    """The unit's filter of system calls lets through what ranks the processes (kmsd/supervisor/rank.c)."""
    found = children(machine)
    assert {niceness for name, niceness, _ in found if name == "kmsd-token"} == {0, 5}, found
    assert {(niceness, policy) for name, niceness, policy in found if name == "kmsd-reader"} == {(19, os.SCHED_IDLE)}, found
    assert sorted(niceness for name, niceness, _ in found if name in ("kmsd-core", "kmsd-front")) == [0, 0, 0, 5], found


def main_pid(machine):
    return machine("systemctl", "show", "kmsd", "-p", "MainPID", "--value").stdout.strip()


def test_library(machine, debs, tmp_path):
    """The example, compiled against the development package, runs with the library's package."""
    for name in ("libkms-dev", "libkms0"):
        run("dpkg-deb", "-x", debs[name], tmp_path)
    lib = next(tmp_path.glob("usr/lib/*/pkgconfig"))
    flags = run("pkg-config", "--cflags", "--libs", "libkms", env={**os.environ, "PKG_CONFIG_PATH": str(lib), "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)})
    run("gcc", tmp_path / "usr/share/doc/libkms-dev/examples/sign.c", "-o", machine.desk / "sign", *flags.stdout.split())
    done = machine.sh(f"cd {DESK}; {CI} ./sign shop com.example.shop stable 1.0.0 shop.zip shop.pem")
    assert "shop.zip 1.0.0" in done.stdout


def test_reload(machine):
    pid = main_pid(machine)
    machine("systemctl", "reload", "kmsd")
    assert main_pid(machine) == pid and machine("systemctl", "is-active", "kmsd").stdout.strip() == "active"
    machine.sh(f"{CI} kmsctl whoami")


def newer(deb, folder):
    """The same package with a higher version."""
    run("dpkg-deb", "-R", deb, folder)
    control = folder / "DEBIAN/control"
    text = control.read_text()
    control.write_text(re.sub(r"^Version: .*$", "Version: 9.9.9", text, flags=re.M))
    run("dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, folder.with_suffix(".deb"))
    return folder.with_suffix(".deb")


def test_upgrade_starts_it_again(machine, debs, tmp_path):
    before, settings = main_pid(machine), (machine.dir / "var/lib/kmsd/kmsd.yaml").read_bytes()
    shutil.copy(newer(debs["kmsd"], tmp_path / "newer"), machine.dir / "opt")
    machine("dpkg", "-i", "/opt/newer.deb")
    assert machine("dpkg-query", "-W", "-f", "${Version} ${Status}", "kmsd").stdout == "9.9.9 install ok installed"
    assert main_pid(machine) not in ("0", before) and (machine.dir / "var/lib/kmsd/kmsd.yaml").read_bytes() == settings
    assert machine("systemctl", "is-active", "kmsd").stdout.strip() == "active"
    stored = machine.sh(f"cd {DESK}; {CI} kmsctl sign shop.zip --version 1.0.0 --key shop --app com.example.shop --channel stable --output-file again.json -o json")
    assert json.loads(stored.stdout)["version"] == "1.0.0"
    assert (machine.desk / "again.json").read_bytes() == (machine.desk / "shop.zip.dsse.json").read_bytes()


def fingerprint(*roots_):
    """path -> mode, owner and SHA-256 of everything below."""
    found = {}
    for root in roots_:
        for path in sorted(Path(root).rglob("*")):
            s = path.lstat()
            text = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not path.is_symlink() else ""
            found[str(path)] = (oct(s.st_mode), s.st_uid, s.st_gid, text)
    return found


def sound(machine):
    return re.search(r"^sound: ", machine("kms-audit", "verify", "/var/lib/kmsd").stdout, re.M)


def test_remove_and_purge_keep_the_data(machine):
    machine("systemctl", "stop", "kmsd")
    assert machine("systemctl", "show", "kmsd", "-p", "Result", "--value").stdout.strip() == "success"
    where = (machine.dir / "var/lib/kmsd", machine.dir / "etc/kmsd")
    before = fingerprint(*where)
    assert any(p.endswith(".jsonl") for p in before) and any("/tokens/" in p for p in before) and any(p.endswith("pin-keys") for p in before)
    machine("apt-get", "remove", "-y", "-q", "kmsd")
    assert fingerprint(*where) == before and not (machine.dir / "usr/bin/kmsd").exists()
    done = machine("apt-get", "purge", "-y", "-q", "kmsd")
    assert fingerprint(*where) == before
    assert "/var/lib/kmsd is kept" in done.stdout + done.stderr and sound(machine)


def test_installed_again_it_goes_on(machine, debs):
    """The data of before are those of the new installation; removing a running service stops it in order."""
    machine("dpkg", "-i", f"/opt/{debs['kmsd'].name}")
    assert machine("systemctl", "is-enabled", "kmsd", check=False).stdout.strip() == "disabled"
    machine("systemctl", "start", "kmsd")
    machine.sh(f"cd {DESK}; {CI} kmsctl sign shop.zip --version 1.0.0 --key shop --app com.example.shop --channel stable --output-file third.json")
    assert (machine.desk / "third.json").read_bytes() == (machine.desk / "shop.zip.dsse.json").read_bytes()
    machine("apt-get", "remove", "-y", "-q", "kmsd")
    assert machine("systemctl", "is-active", "kmsd", check=False).stdout.strip() in ("inactive", "unknown")
    last = sorted((machine.dir / "var/lib/kmsd/audit").glob("*.jsonl"))[-1].read_text().splitlines()[-1]
    assert json.loads(last)["event"] == "daemon.stop" and sound(machine)
