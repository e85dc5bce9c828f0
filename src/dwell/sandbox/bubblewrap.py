"""The command that starts the harness inside bubblewrap, and whether that works here.

Inside there is no network, no home, no environment; `/usr` and the interpreter are read-only,
`/tmp` is an empty folder in memory of bounded size, `/proc` shows the sandbox's own processes.
An ordinary user gets a user namespace. Root does without one and the harness becomes an ordinary
user with a number of its own: the kernel never counts processes against root, even in a namespace.
"""

from __future__ import annotations

import atexit
import itertools
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from dwell.errors import UsageError
from dwell.sandbox.records import Limits
from dwell.sandbox.seccomp import filter_program

INSTALL = (
    "Install it on Linux (Debian and Ubuntu: apt install bubblewrap; Fedora: dnf install "
    "bubblewrap), or accept what programs may do to this machine with `--unsafe-local`."
)
#: Users that the harness becomes where it is started by root; they need not exist.
FIRST_UID, NUM_UIDS = 20_000, 40_000

LOADER_CACHE = "/etc/ld.so.cache"
#: The harness's name inside; compiled once here, since every sandbox starts with reading it.
INSIDE = "/harness.pyc"

_numbers = itertools.count()


def check_available() -> None:
    """Raise where programs cannot be contained on this machine.

    Raises:
        UsageError: `bwrap` is absent or refused; the message says what to do.
    """
    if reason := why_not():
        raise UsageError(
            f"Programs are run in a sandbox, which needs bubblewrap, but {reason}. {INSTALL}"
        )


@cache
def why_not() -> str:
    """Why bubblewrap cannot be used here; empty where it can."""
    if not sys.platform.startswith("linux"):
        return f"it does not exist for {sys.platform}"
    if shutil.which("bwrap") is None:
        return "there is no program `bwrap`"
    command = [*command_line(Limits(), seccomp_fd=None)[:-1], "-c", "pass"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`bwrap` does not run ({type(error).__name__})"
    if tried.returncode == 0:
        return ""
    lines = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    said = lines[0] if lines else f"exit {tried.returncode}"
    return f"`bwrap` is refused here ({said}); user namespaces may be switched off"


def inner_uid() -> int:
    """The user that the harness becomes: 0 for none, which an ordinary user needs not."""
    if os.geteuid() != 0:
        return 0
    return FIRST_UID + (os.getpid() * 64 + next(_numbers)) % NUM_UIDS


@cache
def harness() -> str:
    """The path of the compiled harness, there for as long as this process lives."""
    folder = tempfile.mkdtemp(prefix="dwell-harness-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source = Path(__file__).with_name("harness.py")
    compiled = os.path.join(folder, "harness.pyc")
    py_compile.compile(str(source), cfile=compiled, doraise=True)
    return compiled


def interpreter() -> str:
    """The interpreter itself, without a virtual environment around it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def python_command(script: str) -> list[str]:
    """An interpreter that reads no environment, no user folder and no site packages."""
    return [interpreter(), "-I", "-S", "-X", "utf8", script]


def command_line(limits: Limits, seccomp_fd: int | None) -> list[str]:
    """The whole command.

    Args:
        limits: of them, the size of the folder in memory.
        seccomp_fd: where bubblewrap reads the filter of system calls; None = without one.
    """
    command = ["bwrap", *_namespaces(), "--die-with-parent", "--clearenv"]
    command += ["--hostname", "sandbox", *_system(), "--ro-bind", harness(), INSIDE]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder, size in (("/dev/shm", limits.disk_bytes // 4), ("/tmp", limits.disk_bytes)):
        command += ["--perms", "1777", "--size", str(size), "--tmpfs", folder]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--as-pid-1"]
    if seccomp_fd is not None:
        command += ["--seccomp", str(seccomp_fd)]
    return [*command, "--", *python_command(INSIDE)]


def _namespaces() -> list[str]:
    if os.geteuid() != 0:
        return ["--unshare-user", "--uid", "65534", "--gid", "65534", "--unshare-all"]
    apart = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
    kept = ("CAP_SETUID", "CAP_SETGID")  # until the harness has become an ordinary user
    return [*apart, "--cap-drop", "ALL", *(word for cap in kept for word in ("--cap-add", cap))]


@cache
def _system() -> tuple[str, ...]:
    """Read-only views of the system's programs and libraries, and of the interpreter."""
    # Where the loader finds libraries; without it, some interpreters do not find their own.
    command = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", LOADER_CACHE, LOADER_CACHE]
    for name in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    home = Path(os.path.realpath(sys.base_prefix))
    if Path("/usr") not in (home, *home.parents):
        # Empty folders on the way, which the harness may pass once it is an ordinary user.
        for folder in (*reversed(home.parents[:-1]), home):
            command += ["--perms", "0755", "--dir", str(folder)]
        for part in ("bin", "lib", "lib64"):
            command += ["--ro-bind-try", str(home / part), str(home / part)]
    return tuple(command)


@cache
def filter_bytes() -> bytes | None:
    """This machine's filter of system calls."""
    return filter_program()
