#!/usr/bin/env python3
"""Runs what a document tells its reader to type, in order, in one shell, and compares what the document says will be printed.

Run are blocks fenced as ```sh (a script) and ```console (lines with "$ " are typed, the others are what they print), and HTML comments that begin with "sh":
preparations that a reader has made already. A ```text block right after an sh block is what that prints. A block after <!-- not run: REASON --> is left out.
`…` in an expected text stands for anything, alone on a line for any lines; times, hashes, ports and process numbers need not be the same.

The shell has a directory and a home of its own in which the project's files are linked, a network of its own, and /tmp/kms and /var/lib/kmsd are directories
of its own too.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SECONDS = 120
MARK = "=== end of step"
OWN = {"/tmp/kms": "instance", "/var/lib/kmsd": "state"}
LINKED = ("build", "Makefile", "README.md", "docs", "policy", "tests", "client", "packaging")
# What may differ from run to run, in the document and in the output alike.
SAME = [
    (r"^kmsd dev: warning: running as root.*\n", ""), (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"), (r"\b[0-9a-f]{32,}\b", "HASH"), (r"\bh-[0-9a-f]{16}\b", "HANDLE"),
    (r"\bpid \d+", "pid N"), (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"), (r"\b\d+(\.\d+)? ?m?s\b", "N s"), (r"[ \t]+", " "),
    # Numbers of records, which grow with what the service writes about itself.
    (r"\b\d+ (records|signed requests)\b", r"N \1"), (r"^\d+ TIME", "N TIME"), (r"\b\d+:HASH", "N:HASH"), (r'"seq":\d+', '"seq":N'),
]


class Step:
    """typed: a line in a console, which goes on after a command that failed; otherwise a script, which does not."""

    def __init__(self, line, script, expected=None, typed=False):
        self.line, self.script, self.expected, self.typed = line, script, expected, typed


def normal(text, own):
    for shown, real in own.items():
        text = text.replace(str(real), shown)
    for pattern, put in SAME:
        text = re.sub(pattern, put, text, flags=re.M)
    return [line.strip() for line in text.strip("\n").splitlines()]


def console(start, lines):
    """Each typed line with what stands below it; a typed line that ends with a backslash goes on."""
    steps, typing = [], False
    for number, line in enumerate(lines, start):
        if typing:
            steps[-1].script += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            steps.append(Step(number, line[2:], [], True))
        elif steps:
            steps[-1].expected.append(line)
        typing = (typing or line.startswith("$ ")) and line.endswith("\\")
    for step in steps:
        step.expected = "\n".join(step.expected) if step.expected else None
    return steps


def read(document):
    """The steps of a document, and the reasons of what is left out."""
    steps, left_out = [], []
    lines = document.read_text().splitlines()
    n, skip = 0, None
    while n < len(lines):
        if match := re.match(r"<!-- not run: (.*) -->", lines[n]):
            skip = match[1]
        if lines[n].strip() == "<!-- sh":
            end = lines.index("-->", n)
            steps.append(Step(n + 2, "\n".join(lines[n + 1:end])))
            n = end
        elif match := re.match(r"```(\w*)\s*$", lines[n]):
            end = next(i for i in range(n + 1, len(lines)) if lines[i].startswith("```"))
            body = lines[n + 1:end]
            if skip:
                left_out.append(skip)
            elif match[1] == "console":
                steps += console(n + 2, body)
            elif match[1] == "sh":
                steps.append(Step(n + 2, "\n".join(body)))
            elif match[1] in ("text", "output") and steps and not any(line.strip() for line in lines[last + 1:n]):
                steps[-1].expected = "\n".join(body)
            skip, n, last = None, end, end
        n += 1
    return steps, left_out


def matches(expected, got):
    """… alone on a line stands for any lines, within a line for any text."""
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "…" else ".*".join(re.escape(part.strip()) for part in line.split("…")) + r"\s*\n" for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in got))


def prepare(scratch):
    work = scratch / "work"
    work.mkdir()
    (scratch / "home").mkdir()
    for name in LINKED:
        if (TOP / name).exists():
            (work / name).symlink_to(TOP / name)
    own = {shown: scratch / name for shown, name in OWN.items()}
    return work, own


def shell(scratch, work):
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch / "home"), "LC_ALL": "C.UTF-8", "EDITOR": "true", "TMPDIR": str(scratch)}
    if os.geteuid() != 0:
        env["USER"] = os.environ.get("USER", "me")
    # With processes of its own, which all end with the shell, whatever a document left running.
    alone = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []
    up = "ip link set lo up 2>/dev/null || true; " if alone else ""
    return subprocess.Popen([*alone, "bash", "-c", up + "exec bash --norc --noprofile"], cwd=work, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace"), bool(alone)


def run(steps, scratch):
    """Yields (step, status, output) until one fails; status None = the shell ended or took too long."""
    work, own = prepare(scratch)
    bash, alone = shell(scratch, work)
    text = ""
    for number, step in enumerate(steps):
        script = step.script
        for shown, real in own.items():
            script = script.replace(shown, str(real))
        (scratch / f"step{number}").write_text(script + "\n")
        # In the one shell, so that what a step exports is there for the next.
        how = ("", " || exit 1") if step.typed else ("set -e; ", "")
        text += f"{how[0]}. {scratch}/step{number} </dev/null{how[1]}\nset +e\necho; echo '{MARK} {number}'\n"
    text += "exit 0\n"
    try:
        output, _ = bash.communicate(text, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        bash.kill()
        output = bash.communicate()[0]
    finally:
        for real in own.values():
            if real.exists() and not alone:
                subprocess.run([TOP / "build/bin/kmsd", "dev", "--dir", real, "--stop"], capture_output=True, timeout=60)
    rest = output
    for number, step in enumerate(steps):
        got, mark, rest = rest.partition(f"\n{MARK} {number}\n")
        yield step, bool(mark), normal(got, own)
        if not mark:
            return


def check(name):
    steps, left_out = read(TOP / name)
    problems, done = [], 0
    scratch = Path(tempfile.mkdtemp(prefix="kmsd-docs."))
    try:
        for step, ended, got in run(steps, scratch):
            done += 1
            if not ended:
                problems.append((step, "failed, or took too long; it printed:", got))
            elif step.expected is not None and not matches(normal(step.expected, {}), got):
                problems.append((step, "does not print what the document says, but:", got))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for step, what, got in problems:
        print(f"{name}:{step.line}: {step.script}\n  {what}")
        print("\n".join(f"    {line}" for line in got[-30:]))
    for reason in left_out:
        print(f"{name}: a block is not run: {reason}")
    print(f"{name}: {done} steps run, {len(problems)} wrong")
    return not problems and done > 0


if __name__ == "__main__":
    sys.exit(0 if all([check(name) for name in sys.argv[1:]]) else 1)
