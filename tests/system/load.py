"""Load on a service: clients at the same time, and how long one waits."""
import http.client
import itertools
import os
import threading
import time

END_SECONDS = 60


class Threads:
    """`clients` threads that each do client(number), which ends by itself or when `stopped` is set: at the end of the block. What one raised, the block raises."""

    def __init__(self, clients, client):
        self.client, self.lock, self.stopped, self.raised = client, threading.Lock(), threading.Event(), []
        self.threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def _run(self, number):
        try:
            self.client(number)
        except Exception as failure:
            self.raised.append(failure)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stopped.set()
        end = time.monotonic() + END_SECONDS
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        assert not any(thread.is_alive() for thread in self.threads)
        if self.raised and not kind:
            raise self.raised[0]


def at_once(clients, client):
    with Threads(clients, client):
        pass


def sign_p99(kms, app, n):
    """What 99 of 100 of n signatures, one after another on one connection, take at the most."""
    took = []
    with kms.connect("ci") as connection:
        for number in range(1, n + 1):
            begun = time.monotonic()
            answer = connection.request("POST", "/v1/sign", kms.release(f"{number}.0.0", app=app))
            took.append(time.monotonic() - begun)
            assert answer.status == 200, answer
    return sorted(took)[n * 99 // 100]


class Signers(Threads):
    """Each signs release after release of an app of its own on a connection that it keeps, with a pause before each."""

    def __init__(self, kms, clients, pause):
        super().__init__(clients, self._sign)
        self.kms, self.pause = kms, pause
        self.answers = []        # (asked, answered, answer)
        self.broken = []         # requests that got no answer at all

    def _sign(self, number):
        connection = None
        for turn in itertools.count(1):
            body = self.kms.release(f"{turn}.0.0", data=os.urandom(8), app=f"com.example.signer{number}")
            if self.stopped.wait(self.pause):
                return
            asked = time.monotonic()
            try:
                connection = connection or self.kms.connect("ci")
                answer = connection.request("POST", "/v1/sign", body)
            except (OSError, http.client.HTTPException) as error:
                connection = None
                self.broken.append((asked, error))
                continue
            with self.lock:
                self.answers.append((asked, time.monotonic(), answer))

    def since(self, when):
        """Answers to requests that began after `when`."""
        with self.lock:
            return [answer for asked, _, answer in self.answers if asked >= when]

    def first(self, status, when, seconds=10):
        """When the first request that began after `when` was answered with that status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.lock:
                found = [answered for asked, answered, answer in self.answers if asked >= when and answer.status == status]
            if found:
                return min(found)
            time.sleep(0.01)
        raise AssertionError(f"no {status} within {seconds} s; {self.since(when)[-3:]}")

    def told(self):
        """The records that clients were told of."""
        return [answer.json["record"] for _, _, answer in self.answers if answer.status == 200]
