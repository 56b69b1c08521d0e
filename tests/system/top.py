"""Runs a command in a pseudo terminal.

Arguments: rows, columns, the command. Standard output gets what the command writes. Each line of standard input is an order: `keys HEX` or
`size ROWS COLUMNS`. Standard error gets the process id first, and at the end whether the terminal is as it was before, and the exit code.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))


def copy(master):
    try:
        os.write(1, os.read(master, 1 << 16))
    except BrokenPipeError:
        pass


def obey(line, master, terminal):
    order, *words = line.split()
    if order == "keys":
        os.write(master, bytes.fromhex(words[0]))
    else:
        # The kernel sends SIGWINCH to the command.
        resize(terminal, *words)


master, terminal = pty.openpty()
resize(terminal, *sys.argv[1:3])
before = termios.tcgetattr(terminal)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for standard in range(3):
        os.dup2(terminal, standard)
    os.closerange(3, 256)
    os.execvp(sys.argv[3], sys.argv[3:])
print(child, file=sys.stderr, flush=True)
ended = os.pidfd_open(child)
orders = b""
while True:
    ready, _, _ = select.select([master, 0, ended], [], [])
    if master in ready:
        copy(master)
    elif ended in ready:
        break
    elif 0 in ready:
        read = os.read(0, 1 << 16)
        if not read:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            sys.exit(1)
        *lines, orders = (orders + read).split(b"\n")
        for line in lines:
            obey(line.decode(), master, terminal)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("restored" if termios.tcgetattr(terminal) == before else "not restored", code, file=sys.stderr, flush=True)
