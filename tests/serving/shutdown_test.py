"""Signals at bad moments, to a process of its own: each ends it with status 0, within its limit."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.shutdown import Shutdown

ROOT = Path(__file__).parents[2]
LIMIT_S = 2.0
START = f"""
import os, threading, time
from serving.shutdown import Shutdown
shutdown = Shutdown(limit_s={LIMIT_S})
shutdown.watch()
"""
SERVING = "shutdown.drain_on_signal()\n"
STARTING = {
    "in python": "while True: pass",
    "waiting for a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "joining a thread": "thread = threading.Thread(target=time.sleep, args=(600,)); thread.start(); thread.join()",
    "printing to a full pipe": "while True: print('x' * 4096, flush=True)",
}


def run_until(number, script, *, prepare=""):
    """Exit status, seconds from the signal to the end, and what the process printed."""
    command = [sys.executable, "-c", f"{START}{prepare}print('ready', flush=True)\n{script}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)  # so that the script is where it stays
        signalled_s = time.monotonic()
        process.send_signal(number)
        status = process.wait(timeout=20)
        return status, time.monotonic() - signalled_s, process.stdout.read()
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("doing", STARTING)
def test_a_starting_process_ends_at_once(doing, number):
    status, took_s, _ = run_until(number, STARTING[doing])
    assert status == 0
    assert took_s < LIMIT_S


def test_a_serving_process_has_its_limit_and_no_longer():
    status, took_s, _ = run_until(signal.SIGTERM, "shutdown.wait(); time.sleep(600)", prepare=SERVING)
    assert status == 0
    assert LIMIT_S <= took_s < LIMIT_S + 5


def test_what_is_drained_does_not_wait_for_the_limit():
    script = "print('signal', shutdown.wait(), flush=True); os._exit(3)"
    status, took_s, printed = run_until(signal.SIGINT, script, prepare=SERVING)
    assert (status, printed) == (3, "signal True\n")
    assert took_s < LIMIT_S


def test_serving_that_ends_of_itself_is_told_from_a_signal():
    shutdown = Shutdown(limit_s=LIMIT_S)
    shutdown.ask()
    assert shutdown.wait() is False
