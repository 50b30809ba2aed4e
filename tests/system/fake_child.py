#!/usr/bin/python3 -SE
"""Stands in for the processes of kmsd: reports how it was started, speaks the control protocol, ends as a file of the instance says.

It ends at the end of file on descriptor 3 (with DIR/<process>.stubborn: long after), so that a descriptor leaked by the supervisor shows."""
import json
import os
import select
import signal
import socket
import struct
import sys
import time

READY, KILL = 51, 52
NAMES = {48: "CHILD", 49: "CHILD_GONE", 50: "STOP"}
ROLE, INDEX, PID, REASON = 27, 28, 29, 14


def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def who():
    program = os.path.basename(sys.argv[0]).removeprefix("kmsd-")
    return {"core": "core", "front": "front-" + option("--door"), "token": "lane-" + option("--lane"), "reader": "reader"}[program]


DIR, NAME = os.path.dirname(option("--settings")), who()


def report(**what):
    line = json.dumps({"name": NAME, "pid": os.getpid(), **what}) + "\n"
    fd = os.open(os.path.join(DIR, "report.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line.encode())
    os.close(fd)


def wish(name):
    """Content of DIR/<process>.<name>, None when there is none."""
    try:
        with open(os.path.join(DIR, f"{NAME}.{name}"), encoding="ascii") as f:
            return f.read()
    except FileNotFoundError:
        return None


def describe():
    found = []
    for fd in range(64):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            pass
    port = socket.socket(fileno=os.dup(4)).getsockname()[1] if 4 in found else 0
    report(event="start", argv=sys.argv[1:], fds=found, port=port, blocked=len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))


def frame(kind, **tags):
    body = struct.pack(">BQ", kind, 0)
    for tag, value in tags.items():
        value = value.encode() if isinstance(value, str) else struct.pack(">Q", value)
        body += struct.pack(">BI", {"role": ROLE, "index": INDEX, "pid": PID, "reason": REASON}[tag], len(value)) + value
    return struct.pack(">I", len(body)) + body


def parse(body):
    kind, at, tags = body[0], 9, {}
    while at < len(body):
        tag, size = struct.unpack_from(">BI", body, at)
        tags[tag], at = body[at + 5:at + 5 + size], at + 5 + size
    number = {name: int.from_bytes(tags[tag], "big") for name, tag in (("role", ROLE), ("index", INDEX), ("child", PID)) if tag in tags}
    return {"event": NAMES.get(kind, str(kind)), **number, "reason": tags.get(REASON, b"").decode()}


def core(control):
    """Collects what the supervisor sends; READY at the fifth child; DIR/core.kill asks for the end of a lane."""
    data, passed, children = b"", {}, 0
    while True:
        request = wish("kill")
        if request:
            os.unlink(os.path.join(DIR, "core.kill"))
            control.sendall(frame(KILL, **json.loads(request), reason="late"))
        if not select.select([control], [], [], 0.02)[0]:
            continue
        part, fds, _, _ = socket.recv_fds(control, 65536, 4)
        if not part and not fds:
            return
        data += part
        while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "big"):
            size = 4 + int.from_bytes(data[:4], "big")
            told, data = parse(data[4:size]), data[size:]
            if told["event"] == "CHILD":
                passed[told["role"], told["index"]] = fds.pop(0) if fds else None
                told["socket"] = passed[told["role"], told["index"]] is not None
                children += 1
            elif told["event"] == "CHILD_GONE":
                fd = passed.pop((told["role"], told["index"]), None)
                if fd is not None:
                    os.close(fd)
            report(**told)
            if children == 5 and told["event"] == "CHILD" and wish("silent") is None:
                control.sendall(frame(READY))
            if told["event"] == "STOP":
                return


def main():
    if "--check" in sys.argv:
        sys.exit(int(wish("check") or 0))
    describe()
    if NAME.startswith("front"):
        signal.signal(signal.SIGHUP, lambda *_: os._exit(0))
    code = wish("exit")
    if code:
        print(f"{NAME}: ends as it was told", file=sys.stderr, flush=True)
        sys.exit(int(code))
    peer = socket.socket(fileno=3)
    if NAME == "core":
        core(peer)
    else:
        peer.recv(1)
    if wish("stubborn") is not None:
        time.sleep(8)


main()
