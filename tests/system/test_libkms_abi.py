"""The promise of libkms.so.0: what a program was compiled against does not change. As a program, `python3 tests/system/test_libkms_abi.py` writes the list anew."""
import platform
import re
import subprocess
import sys

import pytest

from kms import ROOT, run

HEADER, LIST, MAP = ROOT / "client/kms.h", ROOT / "client/libkms.abi", ROOT / "client/libkms.map"
SONAME = re.search(r"^LIBKMS_SO := (\d+)$", (ROOT / "client/libkms.mk").read_text(), re.M)[1]
ADVICE = """
The binary interface of libkms is not the one in client/libkms.abi:
%s
Lines with - went away or changed: programs that were compiled before would break. Take the change back, or give the library another soname: LIBKMS_SO in
client/libkms.mk, the node in client/libkms.map, and the package libkms%s in packaging/debian with all that names it.
Where there are only lines with +, programs go on working: a function, a constant, a member of an enumeration. Never a member of a structure: callers allocate them.
In both cases write the list anew: python3 tests/system/test_libkms_abi.py"""


def bare(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def tidy(text):
    return re.sub(r"\s+", " ", text).strip()


def members(body):
    """Names in the order of the declarations: `char a[4], b[X];` and `void (*f)(void *c, int d);` give a, b and f."""
    for declaration in filter(None, map(str.strip, body.split(";"))):
        pointer = re.search(r"\(\*(\w+)\)\(", declaration)
        if pointer:
            yield pointer[1]
            continue
        for part in declaration.split(","):
            yield re.search(r"(\w+)\s*(\[\w+\])?$", part.strip())[1]


def program(header):
    """C that prints every size, offset and value of the header."""
    lines = []
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", header, re.S | re.M):
        lines.append(f'printf("struct {name} size %zu align %zu\\n", sizeof(struct {name}), _Alignof(struct {name}));')
        lines += [f'printf("struct {name} {m} offset %zu size %zu\\n", offsetof(struct {name}, {m}), sizeof(((struct {name} *)0)->{m}));' for m in members(body)]
    for name, body in re.findall(r"^enum (\w+) \{(.*?)^\};", header, re.S | re.M):
        lines.append(f'printf("enum {name} size %zu\\n", sizeof(enum {name}));')
        lines += [f'printf("enum {name} {m} = %d\\n", (int){m});' for m in re.findall(r"(KMS_\w+)", body)]
    lines += [f'printf("constant {m} = %llu\\n", (unsigned long long){m});' for m in re.findall(r"^#define (KMS_\w+) +[\d(]\S*", header, re.M)]
    return "#include <stdio.h>\n#include \"client/kms.h\"\nint main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n"


def interface(folder, header=None, library=None):
    text = bare((header or HEADER).read_text())
    source = folder / "abi.c"
    source.write_text(program(text).replace('"client/kms.h"', f'"{header or HEADER}"'))
    run("gcc", "-std=c11", "-o", folder / "abi", source)
    lines = run(folder / "abi").stdout.decode().splitlines()
    lines += [f"start {m[0]} {tidy(m[1])}" for m in re.findall(r"^#define (KMS_\w+_INIT) (.*)$", text, re.M)]
    lines += ["function " + tidy(f) for f in re.findall(r"^(?!#|struct \w+ \{|extern)(\w[\w\s*]*\bkms_\w+\([^;{]*\));", text, re.M)]
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.S | re.M):
        lines += [f"struct {name} declares {tidy(d)}" for d in body.split(";") if d.strip()]
    library = library or ROOT / f"build/lib/libkms.so.{SONAME}"
    lines += [f"symbol {line.split()[-1]}" for line in run("nm", "-D", "--defined-only", library).stdout.decode().splitlines() if " T " in line]
    return sorted(lines)


def built():
    run("make", "-C", ROOT, "lib", timeout=300)


def difference(old, new):
    return "\n".join([f"- {line}" for line in old if line not in new] + [f"+ {line}" for line in new if line not in old])


needs = pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the list is that of 64-bit machines")


@needs
def test_the_interface_is_the_one_that_was_promised(tmp_path):
    built()
    now, promised = interface(tmp_path), LIST.read_text().splitlines()
    assert now == promised, ADVICE % (difference(promised, now), SONAME)


@needs
def test_the_list_is_whole(tmp_path):
    """Every structure, function and symbol of the header is in it: what the reading above does not understand would not be watched."""
    text, promised = bare(HEADER.read_text()), LIST.read_text()
    names = set(re.findall(r"\b(kms_\w+)\(", text))
    assert names == set(re.findall(r"^ +(kms_\w+);", MAP.read_text(), re.M)) and len(names) > 5
    for name in names:
        assert re.search(rf"^function .*\b{name}\(", promised, re.M) and f"symbol {name}@@LIBKMS_{SONAME}" in promised
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.S | re.M):
        declared = body.count(";") + sum(d.count(",") for d in body.split(";") if "(*" not in d)
        assert len(re.findall(rf"^struct {name} \w+ offset", promised, re.M)) == declared, name
    assert len(re.findall(r"^constant ", promised, re.M)) == len(re.findall(r"^#define KMS_\w+ ", text, re.M)) - len(re.findall(r"_INIT ", text))


CHANGES = {
    "a member": ("    int64_t key_version;\n    char scheme[16];", "    int64_t key_version;\n    int more;\n    char scheme[16];"),
    "a longer text": ("char title[256];", "char title[300];"), "an order": ("unsigned http;", "unsigned http_;"),
    "a type": ("    int64_t now;", "    uint64_t now;"), "a value": ("KMS_USAGE = 2", "KMS_USAGE = 5"), "a constant": ("#define KMS_NAME_TEXT 65", "#define KMS_NAME_TEXT 66"),
    "an argument": ("const char *kms_version(void);", "const char *kms_version(int which);"), "a start": ("{.size = -1}", "{.size = 0}"),
}


@needs
@pytest.mark.parametrize("kind", sorted(CHANGES))
def test_a_change_shows(tmp_path, kind):
    built()
    text, (old, new) = HEADER.read_text(), CHANGES[kind]
    assert old in text
    (tmp_path / "kms.h").write_text(text.replace(old, new, 1))
    shown = difference(LIST.read_text().splitlines(), interface(tmp_path, header=tmp_path / "kms.h"))
    assert shown.startswith("- "), shown


if __name__ == "__main__":
    import pathlib
    import tempfile
    built()
    with tempfile.TemporaryDirectory() as folder:
        LIST.write_text("\n".join(interface(pathlib.Path(folder))) + "\n")
    sys.exit(subprocess.run(["git", "-C", str(ROOT), "diff", "--stat", "--", str(LIST)], check=False).returncode)
