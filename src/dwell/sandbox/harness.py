"""What runs inside the sandbox: it starts the program once for each test and says what came of it.

Run as a script by `dwell.sandbox.running`, never imported by dwell. Standard library only, and of
that only modules that load fast; one long file, because it is put into the sandbox as one. It is
process 1 of its own process namespace: signals from inside cannot end it, nobody inside may trace
it or read its memory, and when it ends, all end.

The program never shares a process with an expected value. It prints (`io`) or returns (`call`),
and the judge outside compares; or a second process here, the tester, runs the test's code (`code`)
and calls the program's functions over pipes: arguments and results are copied as plain data, so an
object that claims to equal everything does not get across. Only a `together` test shares the
program's process.
"""

from __future__ import annotations

import _ctypes  # type: ignore[import-not-found, unused-ignore]
import _json  # type: ignore[import-not-found, unused-ignore]
import marshal
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # `typing` is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

SET_DUMPABLE, KILL = 4, 9
#: Seconds between looks at the memory of all processes together.
TICK = 0.05
#: Characters of an error's text that are handed on.
MESSAGE = 400
BUILTINS = frozenset(dir(sys.modules["builtins"]))


def main() -> None:
    """Serve the tests on standard input, one after the other, until it ends."""
    job = read_message()
    lower_privileges(job["uid"])
    contained = job["contained"] and os.getpid() == 1
    for number in range(job["tests"]):
        run_test(job, read_message(), number, contained)


def lower_privileges(uid: int) -> None:
    """Become an ordinary user, if still root; let nobody of that user look in."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # as ctypes.CDLL(None) does
    if uid:
        # Not even what a program with marks on its file could take up again.
        version = (0x20080522).to_bytes(4, sys.byteorder) + bytes(4)
        _ctypes.call_function(_ctypes.dlsym(libc, "capset"), (version, bytes(24)))
    prctl = _ctypes.dlsym(libc, "prctl")
    _ctypes.call_function(prctl, (SET_DUMPABLE, 0, 0, 0, 0))


# --- messages ---------------------------------------------------------------------------------


def read_exactly(fd: int, size: int) -> bytes:
    """`size` bytes; fewer where the other side has ended."""
    data = b""
    while len(data) < size and (more := os.read(fd, min(size - len(data), 1 << 20))):
        data += more
    return data


def read_message(fd: int = 0) -> Any:
    """The next message from the trusted side; the process ends where there is none."""
    head = read_exactly(fd, 4)
    if len(head) < 4:
        os._exit(0)
    return marshal.loads(read_exactly(fd, int.from_bytes(head, "big")))


def write_all(fd: int, data: bytes) -> None:
    """Write the whole of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def framed(data: bytes) -> bytes:
    """The data behind its length."""
    return len(data).to_bytes(4, "big") + data


# --- plain data across processes ---------------------------------------------------------------


def plain(value: Any, depth: int = 0) -> Any:
    """The value as nested lists and tagged objects that JSON can carry.

    What a subclass holds is read by its base's own methods, so no method of the program runs.

    Raises:
        TypeError: it is not plain data.
    """
    if depth > 100:
        raise TypeError("the value is nested too deeply to be passed")
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    for base, tag in TAGS:
        if isinstance(value, base):
            if base in (list, tuple, set, frozenset):
                return {tag: [plain(item, depth + 1) for item in base.__iter__(value)]}
            if base is dict:
                items = dict.items(value)
                return {tag: [[plain(k, depth + 1), plain(v, depth + 1)] for k, v in items]}
            return {tag: base.__repr__(value) if base is not bytes else bytes.hex(value)}
    raise TypeError(f"a value of type {kind.__name__} cannot be passed")


TAGS: tuple[tuple[Any, str], ...] = (
    (list, "l"), (tuple, "t"), (dict, "d"), (set, "s"), (frozenset, "z"), (bytes, "b"),
    (int, "i"), (float, "f"), (complex, "c"), (str, "r"),
)  # fmt: skip


def as_json(value: Any) -> bytes:
    """Plain data as JSON, without loading the slow `json` module."""
    quote = _json.encode_basestring_ascii
    encode = _json.make_encoder(None, repr, quote, None, ":", ",", False, False, True)
    return "".join(encode(value, 0)).encode()


def from_json(data: bytes) -> Any:
    """What `as_json` wrote.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return _json.make_scanner(ScannerSettings)(  # type: ignore[arg-type]
            data.decode(), 0
        )[0]
    except StopIteration:
        raise ValueError("not JSON") from None


class ScannerSettings:
    """What `json.JSONDecoder` hands to its scanner."""

    strict = True
    memo: dict[str, str] = {}
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float  # NaN, Infinity and -Infinity


def text_of(error: BaseException) -> str:
    """What an error says; the program's own `__str__` may return anything, or raise."""
    try:
        return str(error)[:MESSAGE]
    except BaseException:
        return ""


def brief(error: BaseException) -> str:
    """An error in one line."""
    name, text = type(error).__name__, text_of(error)
    return f"{name}: {text}"[:MESSAGE] if text else name[:MESSAGE]


# --- the program's process ---------------------------------------------------------------------


def become_program(job: Any, fds: tuple[int, int, int, int, int]) -> None:
    """Keep these five files and no other, under the limits, in a folder of its own.

    They become standard input, output and error, 3 (requests in) and 4 (replies out).
    """
    os.setsid()
    high = [os.dup2(fd, 100 + k) for k, fd in enumerate(fds)]
    for target, fd in enumerate(high):
        os.dup2(fd, target)
    os.closerange(5, 1024)
    set_limits(job)


def set_limits(job: Any) -> None:
    """Limits that hold for this process and, each on its own, for its children."""
    for name, amount in job["limits"].items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        # A second lies between the warning signal on processor time, which has a name, and death.
        more = name == "RLIMIT_CPU" and hard == resource.RLIM_INFINITY
        resource.setrlimit(which, (amount, amount + more))


def run_program(job: Any) -> dict[str, Any]:
    """Execute the program's text as the main module; its names."""
    main = sys.modules["__main__"] = type(sys)("__main__")
    space = main.__dict__
    space["__file__"] = "program.py"
    sys.argv = ["program.py"]
    exec(compile(job["code"], "program.py", "exec", dont_inherit=True), space)
    return space


def finish(code: int) -> NoReturn:
    """End like an interpreter: threads, exit functions, buffers; then at once."""
    threading = sys.modules.get("threading")
    try:
        if threading is not None:
            threading._shutdown()
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # the program may have broken any of it
        code = code or 1
    os._exit(code)


def end_with_error(error: BaseException) -> NoReturn:
    """Say on standard error what ended the program, and end."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        finish(code & 255)
    os.write(2, b"\n\0" + brief(error).encode("utf-8", "replace"))
    finish(1)


def play_program(job: Any, test: Any) -> NoReturn:
    """The whole life of the program's process."""
    try:
        space = run_program(job)
        kind = test["kind"]
        if kind == "call":
            given = space[test["call"]](*test["args"], **test["kwargs"])
            write_all(4, framed(as_json(plain(given))))
        elif kind == "code":
            serve_calls(space)
        elif kind == "together":
            write_all(4, b"+")  # the test and its token are sent only now
            asked = read_message(3)
            exec(compile(asked["code"], "test.py", "exec", dont_inherit=True), space)
            write_all(4, asked["token"])
    except BaseException as error:  # whatever the program raises
        end_with_error(error)
    finish(0)


def serve_calls(space: dict[str, Any]) -> None:
    """Tell the tester the program's names, then call what it asks for until it ends."""
    write_all(4, framed(as_json({name: describe(value) for name, value in space.items()})))
    while head := read_exactly(3, 4):
        name, args, kwargs = marshal.loads(read_exactly(3, int.from_bytes(head, "big")))
        try:
            result = plain(space[name](*args, **kwargs))
            # What the function changed in place is copied back.
            reply: Any = {"value": result, "args": [plain(arg) for arg in args]}
        except Exception as error:  # handed to the tester
            reply = {"raised": type(error).__name__, "message": text_of(error)}
        write_all(4, framed(as_json(reply)))


def describe(value: Any) -> Any:
    """What a name of the program is to a tester: a module, a value, a function, or neither."""
    if type(value) is type(sys):
        return ["module", value.__name__]
    try:
        return ["value", plain(value)]
    except TypeError:
        return ["other" if isinstance(value, type) or not callable(value) else "call"]


# --- the tester's process ----------------------------------------------------------------------


def play_tester(job: Any, calls: int, replies: int, verdict: int) -> NoReturn:
    """Run one test's code on proxies of the program's functions, and say what came of it."""
    hidden = ""
    try:
        os.setsid()
        set_limits(job)
        source = read_message()  # past process 1, whose memory the programs inherit
        write_all(verdict, b"read ")
        names = from_json(read_reply(replies))
        space = tester_names(ask_fn(calls, replies), names)
        own = [name for name in names if name in BUILTINS and not name.startswith("__")]
        if own:
            hidden = f" (`{own[0]}` is Python's own here: mark the test `together`)"
        for fd in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        exec(compile(source, "test.py", "exec", dont_inherit=True), space)
        said = "passed"
    except AssertionError as error:
        said = "failed " + brief(error) + hidden
    except BaseException as error:  # whatever a test raises
        said = "error " + brief(error) + hidden
    write_all(verdict, said.encode("utf-8", "replace"))
    os._exit(0)


def read_reply(replies: int) -> bytes:
    """The program's next reply.

    Raises:
        RuntimeError: the program has ended.
    """
    head = read_exactly(replies, 4)
    size = int.from_bytes(head, "big")
    data = read_exactly(replies, size) if len(head) == 4 else b""
    if len(head) < 4 or len(data) < size:
        raise RuntimeError("the program ended before it answered")
    return data


def restored(value: Any) -> Any:
    """Plain data from its tagged form."""
    if type(value) is not dict:
        return value
    ((tag, held),) = value.items()
    if tag == "d":
        return {restored(k): restored(v) for k, v in held}
    if tag == "b":
        return bytes.fromhex(held)
    if tag == "r":
        return str(held)
    for base, name in TAGS:
        if name == tag and base in (int, float, complex):
            return base(held)
        if name == tag:
            return base(restored(item) for item in held)
    raise ValueError("an unknown kind of value was passed")


def ask_fn(calls: int, replies: int) -> Callable[..., Any]:
    """A function that has one of the program's functions called over the pipes."""
    builtin = sys.modules["builtins"]

    def ask(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            asked = marshal.dumps((name, args, kwargs))
        except ValueError:
            raise TypeError(
                f"an argument of {name} is no plain data: mark the test `together`"
            ) from None
        write_all(calls, framed(asked))
        reply = from_json(read_reply(replies))
        if "raised" in reply:
            kind = getattr(builtin, str(reply["raised"]), RuntimeError)
            usable = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if usable else RuntimeError)(reply["message"])
        for mine, changed in zip(args, map(restored, reply["args"]), strict=True):
            update(mine, changed)
        return restored(reply["value"])

    return ask


def update(mine: Any, changed: Any) -> None:
    """Make a tester's own argument what the program made of its copy."""
    if type(mine) is list and type(changed) is list:
        mine[:] = changed
    elif type(mine) in (dict, set) and type(mine) is type(changed):
        mine.clear()
        mine.update(changed)


def tester_names(ask: Callable[..., Any], names: dict[str, Any]) -> dict[str, Any]:
    """What a test sees: values, proxies of functions, the modules that the program imported.

    Names of built-in functions stay Python's own, and a module's name is that module: otherwise a
    program could have `len` or `math.isclose` say what it likes.
    """
    space: dict[str, Any] = {"__name__": "test"}

    def proxy(name: str, kind: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if kind == "other":
                raise TypeError(f"{name} is no plain function or value: mark the test `together`")
            return ask(name, args, kwargs)

        call.__name__ = name
        return call

    for name, (kind, *held) in names.items():
        if name in BUILTINS or name.startswith("__"):
            continue
        if kind == "value":
            space[name] = restored(held[0])
        elif kind == "module":
            if name == held[0] and name in sys.stdlib_module_names:
                space[name] = __import__(name)
        else:
            space[name] = proxy(name, kind)
    return space


# --- process 1 ---------------------------------------------------------------------------------


class Capture:
    """What a process writes to a pipe, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.data, self.limit, self.open = bytearray(), limit, True

    def drain(self) -> None:
        """Read what is there; what is beyond the limit is read and dropped."""
        try:
            while self.open:
                more = os.read(self.read_end, 1 << 16)
                self.open = bool(more)
                self.data += more[: max(0, self.limit + 1 - len(self.data))]
                if len(self.data) > self.limit:
                    return
        except BlockingIOError:
            return

    @property
    def over(self) -> bool:
        """Whether more was written than is allowed."""
        return len(self.data) > self.limit


class Feed:
    """What a process is to read from a pipe, written as it reads."""

    def __init__(self, data: bytes = b"") -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.write_end, False)
        self.data, self.open = memoryview(data), True

    def push(self) -> None:
        """Write what fits; end where all is written, or nobody reads."""
        try:
            while self.data:
                self.data = self.data[os.write(self.write_end, self.data) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.data = memoryview(b"")
        self.close()

    def close(self) -> None:
        """Tell the reader that there is no more."""
        if self.open:
            os.close(self.write_end)
            self.open = False


def run_test(job: Any, test: Any, number: int, contained: bool) -> None:
    """Start the program for one test, watch it, and report."""
    folder = f"{job['folder']}/{number}"
    os.mkdir(folder)
    os.chdir(folder)
    limit = job["output_bytes"]
    out, err, said = Capture(limit), Capture(limit), Capture(limit)
    feed, asked = Feed(test.get("stdin", b"")), Feed()
    tested = test["kind"] == "code"
    replied_read, replied_write = os.pipe() if tested else (-1, said.write_end)
    begin = time.monotonic()
    program = os.fork()
    if program == 0:
        ends = (feed.read_end, out.write_end, err.write_end, asked.read_end, replied_write)
        become_program(job, ends)
        play_program(job, test)
    tester = os.fork() if tested else 0
    if tested and tester == 0:
        os.close(replied_write)
        os.close(asked.read_end)
        os.set_blocking(asked.write_end, True)
        play_tester(job, asked.write_end, replied_read, said.write_end)
    for fd in {*ends_of(feed, out, err, said, asked), replied_write}:
        os.close(fd)
    if tested:
        os.close(replied_read)
        asked.close()
    watch = Watch(job, tester or program, (out, err, said), (feed, asked), contained)
    status = watch.until(begin + job["wall_seconds"], test["kind"] == "together")
    seconds = time.monotonic() - begin
    if tested and status == "exit 0":
        status = how_it_ended(program, os.WNOHANG) or "exit 0"
    sweep(contained, (program, tester) if tested else (program,))
    report(status, seconds, out, err, said)
    feed.close()
    asked.close()
    if tested and not said.data.startswith(b"read "):
        os._exit(1)  # the tester was ended before it took its message: what follows is not ours


def ends_of(feed: Feed, out: Capture, err: Capture, said: Capture, asked: Feed) -> list[int]:
    """The ends of pipes that the program has, and process 1 must not keep."""
    return [feed.read_end, out.write_end, err.write_end, said.write_end, asked.read_end]


class Watch:
    """Waits for a process while it moves what is written and read."""

    def __init__(
        self,
        job: Any,
        pid: int,
        captures: tuple[Capture, ...],
        feeds: tuple[Feed, Feed],
        contained: bool,
    ) -> None:
        self.job, self.captures, self.feeds, self.contained = job, captures, feeds, contained
        self.pid, self.pidfd = pid, os.pidfd_open(pid)

    def until(self, deadline: float, together: bool) -> str:
        """How the process ended: "exit 0", "signal 9", "timeout", "output" or "memory"."""
        try:
            waits_for_test = together
            while True:
                ended = self._turn(max(0.0, deadline - time.monotonic()))
                if waits_for_test and (ended or self.captures[2].data):
                    waits_for_test = False
                    self.feeds[1].data = memoryview(framed(marshal.dumps(read_message())))
                if any(capture.over for capture in self.captures):
                    return "output"
                if ended:
                    return how_it_ended(self.pid)
                if time.monotonic() >= deadline:
                    if waits_for_test:
                        read_message()
                    return "timeout"
                if self.contained and resident_bytes() > self.job["memory_bytes"]:
                    return "memory"
        finally:
            os.close(self.pidfd)

    def _turn(self, seconds: float) -> bool:
        """Move what can be moved within a tick; whether the process has ended."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        poll.register(1, 0)  # an error there: nobody outside listens any more
        for capture in self.captures:
            if capture.open:
                poll.register(capture.read_end, select.POLLIN)
        for feed in self.feeds:
            if feed.open and feed.data:
                poll.register(feed.write_end, select.POLLOUT)
            elif feed is self.feeds[0]:
                feed.close()
        ready = {fd for fd, _ in poll.poll(min(seconds, TICK) * 1000)}
        if 1 in ready:
            os._exit(1)
        for capture in self.captures:
            capture.drain()
        for feed in self.feeds:
            if feed.open and feed.data:
                feed.push()
        return self.pidfd in ready


def how_it_ended(pid: int, options: int = 0) -> str:
    """How a process ended, which stays to be reaped; empty if it has not."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | options)
    if ended is None:
        return ""
    return f"{'exit' if ended.si_code == os.CLD_EXITED else 'signal'} {ended.si_status}"


def resident_bytes() -> int:
    """Memory of all processes here but this one."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            try:
                with open(f"/proc/{name}/statm", "rb") as file:
                    total += int(file.read().split()[1])
            except OSError:
                continue
    return total * resource.getpagesize()


def sweep(contained: bool, pids: tuple[int, ...]) -> None:
    """End all that a test has started, before the next one begins."""
    for pid in (-1,) if contained else pids:
        try:
            os.kill(-1, KILL) if contained else os.killpg(pid, KILL)
        except ProcessLookupError:
            continue
    if not contained:
        for pid in pids:
            os.waitpid(pid, 0)
        return
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def report(status: str, seconds: float, *captures: Capture) -> None:
    """Tell the outside how a test went: one line, then what was written, each with its size."""
    for capture in captures:
        capture.drain()
        os.close(capture.read_end)
    sizes = " ".join(str(len(capture.data)) for capture in captures)
    head = f"{status}|{seconds:.4f}|{sizes}\n".encode()
    write_all(1, head + b"".join(bytes(capture.data) for capture in captures))


if __name__ == "__main__":
    main()
