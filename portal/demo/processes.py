"""Processes that must not outlive us, and finding those that did."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child only calls it


def dies_with_parent(with_signal: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn`: on Linux the kernel sends the signal when the thread that starts the child ends.

    Start such children from the main thread only.
    """
    parent = os.getpid()

    def in_child() -> None:
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, int(with_signal))
            if os.getppid() != parent:  # it was killed between fork and prctl
                os._exit(1)

    return in_child


def running(pid: int, executable: str, directory: Path) -> psutil.Process | None:
    """The process with this id if it is that program working in that directory: ids are used again."""
    try:
        process = psutil.Process(pid)
        is_it = (
            process.status() != psutil.STATUS_ZOMBIE
            and Path(process.exe()).name == executable
            and Path(process.cwd()).samefile(directory)
        )
    except (psutil.Error, OSError):
        return None
    return process if is_it else None


def left_over(executable: str, directory: Path) -> list[psutil.Process]:
    """Every process of that program working in that directory, whoever started it."""
    found = (
        running(p.pid, executable, directory)
        for p in psutil.process_iter(["name"])
        if p.info["name"] == executable
    )
    return [process for process in found if process is not None]


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended. One that nobody waits for stays a zombie, in a container perhaps for ever."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(process: psutil.Process, *signals: signal.Signals, within: float = 30) -> None:
    """Send the signals in turn, at last SIGKILL, each after `within` seconds, until the process is gone."""
    for number in (*signals, signal.SIGKILL):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        if wait_until(lambda: is_gone(process), within):
            return


def stop(child: subprocess.Popen[bytes], last: signal.Signals = signal.SIGKILL, within: float = 30) -> None:
    """Wait for a child that has been asked to stop; end it by force when it does not."""
    try:
        child.wait(within)
    except subprocess.TimeoutExpired:
        child.send_signal(last)
        child.wait()


def wait_until(condition: Callable[[], bool], within: float, every: float = 0.02) -> bool:
    """Ask until the condition holds; False when it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
