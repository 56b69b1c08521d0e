#!/usr/bin/env python3
"""Runs a program as a unit of systemd would restrict it, on a machine where systemd is not process 1.

    packaging/sandbox.py packaging/debian/hotshoe.service DATA CONFIG_FOLDER -- \
        target/dist/hotshoe-supervisor --data @DATA@ @PROGRAMS@/hotshoe run --config @CONFIGURATION@/hotshoe.toml

It applies what can be applied without systemd: another user without capabilities, no new privileges, a file system that can only be read
except the data folder and a /tmp of its own, no devices but the plain ones, its own names of processes and IPC, the socket families, and the
filter of system calls, of which the sets come from `systemd-analyze syscall-filter`. It needs root, util-linux and libseccomp.
"""
import configparser
import ctypes
import os
import subprocess
import sys

UID = 65534
ERRNO_EPERM = 0x00050001
ALLOW = 0x7FFF0000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
NO_NEW_PRIVS = 38


def unit(path):
    """The keys of [Service]; a key that is repeated is a list."""
    class Repeated(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Repeated, strict=False, delimiters=["="])
    parser.optionxform = str
    parser.read(path)
    return parser["Service"]


def calls(name):
    """The system calls of a set of systemd, with those of the sets in it."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], check=True, capture_output=True, text=True).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    return set().union(*(calls(word) for word in words if word and not word.startswith("#")))


def allowed(service):
    allow = set()
    for value in service["SystemCallFilter"].split("\n"):
        inverted, names = value.startswith("~"), value.removeprefix("~").split()
        for name in names:
            allow = allow - calls(name) if inverted else allow | calls(name)
    # What systemd itself needs to start the program.
    return allow | calls("@default") | {"execve", "exit_group"}


class Argument(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def restrict(service):
    """Loads the filter of system calls and of socket families."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Argument)]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(ERRNO_EPERM)
    families = [FAMILIES[name] for name in service["RestrictAddressFamilies"].split()]
    for name in sorted(allowed(service)):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue
        if name == "socket":
            for family in families:
                equal = Argument(0, 4, family, 0)
                library.seccomp_rule_add_array(context, ALLOW, number, 1, ctypes.byref(equal))
        else:
            library.seccomp_rule_add_array(context, ALLOW, number, 0, None)
    if library.seccomp_load(context) != 0:
        sys.exit("the filter of system calls cannot be loaded")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def main():
    if "--inside" not in sys.argv:
        namespaces = ["--mount", "--ipc", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        os.execvp("unshare", ["unshare", *namespaces, sys.executable, __file__, "--inside", *sys.argv[1:]])
    _, _, path, data, configuration, dashes, *command = sys.argv
    assert dashes == "--", __doc__
    service = unit(path)
    command[0] = os.path.abspath(command[0])
    data, configuration = os.path.abspath(data), os.path.abspath(configuration)
    # Bound before a /tmp of its own can hide them.
    inside = "/run/hotshoe-sandbox"
    mount("-t", "tmpfs", "tmpfs", "/run")
    for name, source in (("data", data), ("configuration", configuration), ("program", os.path.dirname(command[0]))):
        os.makedirs(f"{inside}/{name}")
        mount("--bind", source, f"{inside}/{name}")
    command[0] = f"{inside}/program/{os.path.basename(command[0])}"
    places = {"@DATA@": "data", "@CONFIGURATION@": "configuration", "@PROGRAMS@": "program"}
    for place, name in places.items():
        command = [word.replace(place, f"{inside}/{name}") for word in command]
    os.chown(f"{inside}/data", UID, UID)
    for folder, _, files in os.walk(f"{inside}/data"):
        for name in [".", *files]:
            os.lchown(os.path.join(folder, name), UID, UID)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    mount("-t", "tmpfs", "-o", "mode=0000", "tmpfs", "/home")
    mount("-o", "remount,bind,ro", "/") if os.path.ismount("/") else None
    mount("-o", "remount,bind,ro", f"{inside}/configuration")
    mount("-o", "remount,bind,ro", f"{inside}/program")
    os.chdir(f"{inside}/data")
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.umask(int(service["UMask"], 8))
    if ctypes.CDLL(None).prctl(NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        sys.exit("new privileges cannot be refused")
    restrict(service)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
