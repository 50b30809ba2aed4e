"""A kmsd-reader without a core: frames over our end of its socket pair."""
import json
import os
import secrets
import socket
import subprocess
import time

import lane


class Reader(lane.Lane):
    """One kmsd-reader process with our end of its socket pair."""

    def __init__(self, directory):
        self.ours, theirs = socket.socketpair()
        self.stderr = open(directory / f"reader-{secrets.token_hex(4)}.stderr", "w+", encoding="utf-8")
        argv = [lane.BUILD / "libexec/kmsd/kmsd-reader", "--settings", str(directory / "kmsd.yaml"), "--parent", str(os.getpid())]
        self.process = subprocess.Popen(argv, close_fds=False, preexec_fn=lambda: os.dup2(theirs.fileno(), 3), stderr=self.stderr,
                                        stdin=subprocess.DEVNULL)
        theirs.close()
        self.ours.settimeout(lane.ANSWER_SECONDS)
        self.buffer, self.next_id, self.state = b"", 1, ("", 0)
        assert self.read()["type"] == "HELLO"

    def answer(self, number=None):
        """The next frame that is not about its state, which is noted; number None: the next of any kind."""
        while (frame := self.read()) is not None:
            if frame["type"] == "HEAD":
                self.state = frame["REASON"].decode(), int.from_bytes(frame["HEAD"], "big")
            if number in (None, frame["id"]) and (number is None or frame["type"] != "HEAD"):
                return frame
        return None

    def head(self, head, seconds=60, until=("following",)):
        self.ours.sendall(lane.frame("HEAD", 0, {"HEAD": head}))
        end = time.monotonic() + seconds
        while True:
            assert self.answer() and time.monotonic() < end, self.state
            if self.state[0] in until and (self.state[0] != "following" or self.state[1] >= head):
                return self

    def search(self, head, query=""):
        return self.answer(self.send("SEARCH", QUERY=query, HEAD=head))

    def pages(self, head, query="", step=0, end=None):
        """[(seq, hash)] of all pages; the log grows by step records between them, up to end."""
        found, after, until = [], None, time.monotonic() + 60
        while True:
            page = self.search(head, query + ("" if after is None else f"&after={after}"))
            assert page["type"] == "FOUND", page
            body = json.loads(page["BODY"])
            if body["indexed"] < head:  # half a second of catching up is not enough on every machine
                assert time.monotonic() < until, body["indexed"]
                continue
            assert body["indexed"] == head and body["next"] != after, (body["indexed"], head, body["next"], after)
            found += [(item["record"]["seq"], item["hash"]) for item in body["items"]]
            assert (body["next"] is None) == ("SEQ" not in page)
            if body["next"] is None:
                return found
            after, head = body["next"], min(head + step, end or head)
