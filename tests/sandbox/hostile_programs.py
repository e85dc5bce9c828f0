"""Programs that try to get out, to deceive or to exhaust; each ends with what it achieved.

`ATTEMPTS` print "contained" if every one of their attempts was refused, else what succeeded.
`BOMBS` must be ended by a limit: the verdicts that say so.
"""

PRELUDE = """
import os, sys
won = []
def attempt(name, fn, *args):
    try:
        result = fn(*args)
    except (OSError, ValueError, ImportError, EOFError, RuntimeError) as error:
        return None
    won.append(f"{name}: {result!r}"[:200])
    return result
def syscall(number, *args):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number
def call(name, *args):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return name
"""
END = """
print("contained" if not won else won)
"""

ATTEMPTS = {
    "reads_secrets": """
for path in ("/etc/shadow", "/etc/passwd", "/etc/hostname", "/var/log", "/sys/kernel", "/home",
             "/root/.bashrc", "/root/.ssh", "/root/.cache", "/boot", "/run", "/srv", "/mnt"):
    attempt(path, lambda: open(path, "rb").read() if os.path.isfile(path) else os.listdir(path))
""",
    "reads_the_environment": """
for path in ("/proc/1/environ", "/proc/self/environ"):
    text = attempt("read", lambda: open(path, "rb").read())
    if text == b"" or text is not None and b"SECRET" not in text: won.pop()
if any("SECRET" in key for key in os.environ): won.append("environ")
""",
    "writes_outside": """
for folder in ("/", "/usr", "/usr/lib", "/dev", "/proc", "/root", os.path.dirname(sys.executable)):
    attempt(folder, lambda: open(folder + "/planted", "w"))
""",
    "writes_settings_of_the_kernel": """
for path in ("/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
             "/proc/sys/vm/drop_caches", "/proc/1/oom_score_adj"):
    attempt(path, lambda: open(path, "w").write("1"))
""",
    "remounts": """
attempt("mount", call, "mount", b"none", b"/tmp", b"tmpfs", 0, None)
attempt("remount", call, "mount", b"none", b"/usr", None, 32 | 4096, None)
attempt("umount", call, "umount2", b"/proc", 2)
attempt("pivot", syscall, 155, b"/tmp", b"/tmp")
""",
    "escapes_by_chroot": """
os.mkdir("jail")
attempt("chroot", os.chroot, "jail")
for _ in range(50): os.chdir("..")
attempt("up", lambda: open("etc/passwd").read())
""",
    "makes_namespaces": """
attempt("unshare user", call, "unshare", 0x10000000)
attempt("unshare mount", call, "unshare", 0x00020000)
attempt("setns", lambda: call("setns", os.open("/proc/1/ns/net", os.O_RDONLY), 0))
attempt("clone user", syscall, 56, 0x10000000 | 17, 0, 0, 0, 0)
""",
    "becomes_root": """
attempt("setuid", os.setuid, 0)
attempt("setgid", os.setgid, 0)
attempt("setgroups", os.setgroups, [0])
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
if status["NoNewPrivs"].strip() != "1": won.append("new privileges")
for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
    if int(status[name], 16): won.append(name + status[name])
if 0 in os.getresuid() + os.getresgid(): won.append("uid")
""",
    "runs_setuid_programs": """
import subprocess
for name in ("su", "sudo", "mount", "passwd", "newgrp"):
    command = ["/usr/bin/" + name, "-c", "id"]
    done = attempt(name, lambda: subprocess.run(command, capture_output=True, text=True))
    if done is not None and "uid=0" not in done.stdout: won.pop()
""",
    "traces": """
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
for pid in (1, os.getppid()):
    attempt("attach", call, "ptrace", PTRACE_ATTACH, pid, 0, 0)
    attempt("seize", call, "ptrace", PTRACE_SEIZE, pid, 0, 0)
attempt("traceme", call, "ptrace", 0, 0, 0, 0)
""",
    "reads_memory_of_others": """
for path in ("/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc/passwd", "/proc/1/cwd/x",
             "/proc/1/stack", "/proc/kcore", "/proc/kmsg"):
    attempt(path, lambda: open(path, "rb").read(10))
attempt("descriptors", lambda: os.listdir("/proc/1/fd"))
attempt("descriptor", lambda: os.open("/proc/1/fd/1", os.O_WRONLY))
attempt("process_vm_readv", syscall, 310, 1, 0, 0, 0, 0, 0)
""",
    "sees_other_processes": """
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
if len(pids) > 2: won.append(pids)
""",
    "opens_devices": """
for name in ("mem", "kmem", "kmsg", "sda", "vda", "nvme0n1", "fuse", "kvm", "net/tun", "loop0"):
    attempt(name, lambda: open("/dev/" + name, "rb").read(1))
attempt("mknod", os.mknod, "disk", 0o60600, os.makedev(8, 0))
attempt("vt", lambda: open("/dev/tty", "rb").read(1))
""",
    "opens_rare_sockets": """
import socket
for family, kind in ((40, 1), (16, 3), (17, 3), (31, 1), (38, 5), (2, 3)):
    attempt(f"family {family}", socket.socket, family, kind)
""",
    "reaches_the_internet": """
import socket
for host in ("1.1.1.1", "169.254.169.254", "10.0.0.1"):
    attempt(host, socket.create_connection, (host, 80), 1)
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"x", ("1.1.1.1", 53))
attempt("udp", send)
""",
    "looks_up_names": """
import socket
for name in ("example.org", "metadata.google.internal"):
    attempt(name, socket.getaddrinfo, name, 80)
""",
    "follows_links": """
os.symlink("/etc/shadow", "link")
attempt("symlink", lambda: open("link").read())
os.symlink("/proc/1/root", "up")
attempt("up", lambda: open("up/etc/passwd").read())
attempt("hard link", lambda: os.link(sys.executable, "copy"))
os.symlink("/usr/planted", "out")
attempt("through", lambda: open("out", "w"))
""",
    "hides_memory": """
attempt("memfd", lambda: os.memfd_create("x"))
attempt("shmget", syscall, 29, 0, 1 << 30, 0o1600)
attempt("msgget", syscall, 68, 0, 0o1600)
attempt("mlock", lambda: call("mlockall", 3))
""",
    "uses_odd_calls": """
for name, number in {"bpf": 321, "perf": 298, "userfaultfd": 323, "io_uring": 425, "keyctl": 250,
                     "init_module": 175, "kexec": 246, "open_by_handle": 304, "reboot": 169,
                     "swapon": 167, "fsopen": 430, "acct": 163, "fanotify": 300}.items():
    attempt(name, syscall, number, 0, 0, 0, 0, 0)
""",
    "raises_its_limits": """
import resource
for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CPU"):
    attempt(name, resource.setrlimit, getattr(resource, name), (-1, -1))
attempt("nice", os.nice, -10)
""",
    "writes_a_huge_file": """
def fill():
    with open("big", "wb") as file:
        for _ in range(1000): file.write(bytes(1 << 20))
attempt("one file", fill)
def many():
    for k in range(1000):
        with open(f"part{k}", "wb") as file: file.write(bytes(8 << 20))
attempt("many files", many)
def shared():
    for k in range(1000):
        with open(f"/dev/shm/part{k}", "wb") as file: file.write(bytes(8 << 20))
attempt("shared memory", shared)
def sparse():
    with open("sparse", "wb") as file: file.truncate(1 << 40)
attempt("sparse", sparse)
""",
    "starts_many_threads": """
import threading, time
def start():
    for _ in range(5000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
attempt("threads", start)
print("contained" if not won else won, flush=True)
os._exit(0)
""",
    "changes_the_clock_or_name": """
import socket, time
attempt("clock", time.clock_settime, time.CLOCK_REALTIME, 0.0)
attempt("name", socket.sethostname, "owned")
""",
}  # fmt: skip

FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
BOMBS = {
    "fork_bomb": (FORK_BOMB, {"timeout"}),
    "shell_fork_bomb": ("import os\nos.system(':(){ :|:& };:')\nwhile True: pass", {"timeout"}),
    "memory_bomb": ("held = []\nwhile True: held.append(bytes(1 << 24))", {"memory"}),
    "memory_bomb_of_many": (
        "import os, time\nfor _ in range(12):\n    if os.fork() == 0: break\n"
        "held = b'x' * (100 << 20)\ntime.sleep(30)",
        {"memory", "timeout"},
    ),
    "zip_bomb": (
        "import zlib\nsmall = zlib.compress(bytes(1 << 28), 9)\n"
        "held = [zlib.decompress(small) for _ in range(40)]",
        {"memory"},
    ),
    "endless_output": ("while True: print('x' * 1000)", {"output"}),
    "endless_errors": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", {"output"}),
    "sleeps_forever": ("import time\ntime.sleep(1e6)", {"timeout"}),
    "spins_deaf_to_signals": (
        "import signal\nfor n in range(1, 32):\n"
        "    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        {"timeout", "error"},
    ),
    "stops_itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", {"timeout"}),
    "deep_recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
        {"error", "memory", "timeout"},
    ),
    "crashes_the_interpreter": ("import ctypes\nctypes.string_at(0)", {"error"}),
    "huge_constant": ("x = 10 ** 10 ** 9", {"timeout", "memory", "error"}),
    "compiler_bomb": ("(" * 10_000 + ")" * 10_000, {"error", "memory"}),
    "backtracking": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", {"timeout"}),
    "waits_for_input": ("import sys\nsys.stdin.read()\nimport time\ntime.sleep(99)", {"timeout"}),
    "closes_its_output": ("import os\nos.close(1)\nprint(1)", {"error", "failed"}),
}

#: What programs do so that a test on `f(x) == x + 1` passes without a right `f`.
CHEATS = {
    "exits_early": "import os\nos._exit(0)",
    "exits_by_exception": "raise SystemExit(0)",
    "equals_everything": (
        "class Yes(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "    def __repr__(self): return '42'\ndef f(x): return Yes(0)"
    ),
    "is_everything": (
        "class Yes:\n    def __eq__(self, other): return True\ndef f(x): return Yes()"
    ),
    "breaks_asserts": (
        "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.compile = lambda *a, **k: 'pass'\n"
        "builtins.exec = lambda *a, **k: None\ndef f(x): return 0"
    ),
    "prints_a_pass": (
        "print('passed')\nprint('exit 0|0.01|0 0 10')\nprint('read passed')\ndef f(x): return 0"
    ),
    "writes_to_every_file": (
        "import os\nfor fd in range(3, 256):\n    for said in (b'passed', b'read passed',\n"
        "            b'exit 0|0.0100|0 0 11\\nread passed', b'\\0\\0\\0\\0'):\n"
        "        try: os.write(fd, said)\n        except OSError: pass\ndef f(x): return 0"
    ),
    "kills_the_others": (  # all but itself and its parent
        "import os, signal\nif os.fork() == 0:\n    while True:\n"
        "        for pid in range(1, 99):\n"
        "            if pid not in (os.getpid(), os.getppid()):\n"
        "                try: os.kill(pid, signal.SIGKILL)\n                except OSError: pass\n"
        "def f(x): return 0"
    ),
    "breaks_the_harness": (
        "import sys, os\nframe = sys._getframe()\nwhile frame:\n    names = frame.f_globals\n"
        "    for name in list(names):\n"
        "        if name in ('plain', 'as_json', 'framed', 'serve_calls', 'end_with_error'):\n"
        "            names[name] = lambda *a, **k: b''\n    frame = frame.f_back\n"
        "def f(x): return 0"
    ),
    "ends_at_exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
}
