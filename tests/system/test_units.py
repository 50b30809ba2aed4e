"""What make install gives systemd: complete, correct, and as confined as promised."""
import re
import subprocess

import pytest

from kms import ROOT, run

EXPOSURE_MAX = 1.5
UNIT = ROOT / "packaging/systemd/kmsd.service"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    run("make", "-C", ROOT, "install", f"DESTDIR={root}", "PREFIX=/usr", timeout=300)
    return root


def settings_of(text):
    """name -> values, in order."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def exposure(unit, *options):
    return subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", *options, unit], capture_output=True, text=True, timeout=60)


def test_exposure():
    done = exposure(UNIT, f"--threshold={int(EXPOSURE_MAX * 10)}")
    match = re.search(r"exposure level for kmsd.service: ([0-9.]+)", done.stdout + done.stderr)
    assert match and float(match[1]) <= EXPOSURE_MAX and done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_a_unit_without_its_walls_is_noticed(tmp_path):
    weak = tmp_path / "kmsd.service"
    weak.write_text("\n".join(line for line in UNIT.read_text().splitlines() if not line.startswith(("Protect", "SystemCallFilter", "Capability"))))
    assert exposure(weak, f"--threshold={int(EXPOSURE_MAX * 10)}").returncode != 0


def test_verify(installed):
    """Nothing unknown in it, and the program is where it says."""
    unit = installed / "usr/lib/systemd/system/kmsd.service"
    copy = installed / "kmsd.service"
    copy.write_text(unit.read_text().replace("ExecStart=/usr/", f"ExecStart={installed}/usr/"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, timeout=60)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "kmsd.service" in line]
    assert not ours, ours


def test_what_kmsd_relies_on(installed):
    unit = settings_of((installed / "usr/lib/systemd/system/kmsd.service").read_text())
    assert unit["Type"] == ["notify"] and unit["Restart"] == ["on-failure"]
    assert set(unit["RestartPreventExitStatus"][0].split()) == {"77", "78"}
    assert unit["LimitCORE"] == ["0"] and unit["LimitMEMLOCK"] == ["infinity"]
    assert [c.split(":")[0] for c in unit["LoadCredential"]] == ["pin-keys", "pin-checkpoint"]
    assert any("landlock_restrict_self" in line for line in unit["SystemCallFilter"])
    program = installed / unit["ExecStart"][0].split()[0].lstrip("/")
    assert program.exists()
    assert "usr/local" not in unit["ExecStart"][0]


def test_accounts_and_directories(installed):
    users = (installed / "usr/lib/sysusers.d/kmsd.conf").read_text()
    assert re.search(r"^u kmsd - ", users, re.M)
    done = subprocess.run(["systemd-sysusers", "--dry-run", installed / "usr/lib/sysusers.d/kmsd.conf"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in (installed / "usr/lib/tmpfiles.d/kmsd.conf").read_text().splitlines() if line and line[0] != "#"]
    assert {line[1]: line[2] for line in lines} == {"/var/lib/kmsd": "0750", "/etc/kmsd": "0700"}
