"""A filter of system calls for the sandbox, as the kernel's own small machine reads it.

Namespaces and limits do most of the work. The filter takes away what they leave: memory that no
limit counts (memfd, shared segments), tracing, further namespaces, and socket families that do not
belong to a network namespace (vsock reaches a virtual machine's host). References: Linux,
`Documentation/userspace-api/seccomp_filter.rst`; `linux/bpf_common.h` for the codes.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType

#: machine -> (the kernel's number for it, the numbers of refused calls).
_X86 = """
ptrace 101 process_vm_readv 310 process_vm_writev 311 process_madvise 440 kcmp 312
memfd_create 319 memfd_secret 447 shmget 29 shmat 30 shmctl 31 msgget 68 msgsnd 69 semget 64
mount 165 umount2 166 pivot_root 155 chroot 161 setns 308 unshare 272 open_tree 428
move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 mount_setattr 442
bpf 321 perf_event_open 298 userfaultfd 323 io_uring_setup 425 io_uring_enter 426
io_uring_register 427 keyctl 250 add_key 248 request_key 249 init_module 175 finit_module 313
delete_module 176 kexec_load 246 kexec_file_load 320 reboot 169 swapon 167 swapoff 168 acct 163
quotactl 179 syslog 103 iopl 172 ioperm 173 open_by_handle_at 304 name_to_handle_at 303
settimeofday 164 clock_settime 227 adjtimex 159 clock_adjtime 305 personality 135 vhangup 153
fanotify_init 300 lookup_dcookie 212 pidfd_getfd 438 mknod 133 mknodat 259 mq_open 240
"""
_ARM = """
ptrace 117 process_vm_readv 270 process_vm_writev 271 process_madvise 440 kcmp 272
memfd_create 279 memfd_secret 447 shmget 194 shmat 196 shmctl 195 msgget 186 msgsnd 189 semget 190
mount 40 umount2 39 pivot_root 41 chroot 51 setns 268 unshare 97 open_tree 428
move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433 mount_setattr 442
bpf 280 perf_event_open 241 userfaultfd 282 io_uring_setup 425 io_uring_enter 426
io_uring_register 427 keyctl 219 add_key 217 request_key 218 init_module 105 finit_module 273
delete_module 106 kexec_load 104 kexec_file_load 294 reboot 142 swapon 224 swapoff 225 acct 89
quotactl 60 syslog 116 open_by_handle_at 265 name_to_handle_at 264
settimeofday 170 clock_settime 112 adjtimex 171 clock_adjtime 266 personality 92 vhangup 58
fanotify_init 262 lookup_dcookie 18 pidfd_getfd 438 mknodat 33 mq_open 180
"""
MACHINES: Mapping[str, tuple[int, str, dict[str, int]]] = MappingProxyType(
    {
        "x86_64": (0xC000003E, _X86, {"clone": 56, "clone3": 435, "socket": 41}),
        "aarch64": (0xC00000B7, _ARM, {"clone": 220, "clone3": 435, "socket": 198}),
    }
)

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCH_AT, FIRST_ARGUMENT_AT = 0, 4, 16
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
#: Calls of the x32 form have numbers from here on and would pass by every comparison.
X32 = 0x40000000
#: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME
NEW_NAMESPACE = 0x7E020080
#: Unix, IPv4 and IPv6: all three end at the sandbox's own network namespace.
FAMILIES = (1, 2, 10)


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter for a machine, or None where dwell has no table of its calls.

    Args:
        machine: as `platform.machine()` says it; None means this one.
    """
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    arch, table, special = known
    refused = [int(word) for word in table.split()[1::2]]
    code = [_step(LOAD, ARCH_AT), _step(JUMP_EQUAL, arch, 1, 0), _step(RETURN, KILL)]
    code += [_step(LOAD, NUMBER_AT), _step(JUMP_AT_LEAST, X32, 0, 1), _step(RETURN, KILL)]
    # glibc falls back to `clone`, whose flags can be read here, where `clone3` does not exist.
    code += _refuse_if(special["clone3"], ENOSYS)
    for number in refused:
        code += _refuse_if(number, EPERM)
    code += _on_argument(special["clone"], [_step(JUMP_ANY_BIT, NEW_NAMESPACE, 0, 1)], EPERM)
    code += _on_argument(special["socket"], _unless(FAMILIES), EAFNOSUPPORT)
    return b"".join([*code, _step(RETURN, ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse_if(number: int, error: int) -> list[bytes]:
    return [_step(JUMP_EQUAL, number, 0, 1), _step(RETURN, REFUSE | error)]


def _on_argument(number: int, tests: list[bytes], error: int) -> list[bytes]:
    """Look at the first argument of one call; refuse or allow it there and then."""
    body = [_step(LOAD, FIRST_ARGUMENT_AT), *tests]
    body += [_step(RETURN, REFUSE | error), _step(RETURN, ALLOW)]
    return [_step(JUMP_EQUAL, number, 0, len(body)), *body]


def _unless(values: Iterable[int]) -> list[bytes]:
    """Jump past the refusal for each of these values."""
    held = list(values)
    # Behind each test stand those still to come and the refusal itself.
    return [_step(JUMP_EQUAL, value, len(held) - k, 0) for k, value in enumerate(held)]
