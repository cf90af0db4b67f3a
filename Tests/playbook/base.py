# Licensed under the Apache License 2.0; see LICENSE.
"""The root file system that every lab starts from: made once from Debian packages, kept under .build/lab."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / ".build/lab"
SUITE = "bookworm"
# What the playbook's commands are, then what the package depends on or its users have. No network is there later.
PACKAGES = sorted("""
    systemd systemd-sysv dbus sudo
    curl jq sqlite3 iproute2 procps git nginx-light valgrind linux-perf htop less
    python3-minimal logrotate ca-certificates adduser man-db libstdc++6 libsqlite3-0
""".split())
# Changes with what is done to the root after the packages are in, so that an old one is not taken for it.
RECIPE = 1
COMMANDS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux",
            "unshare": "util-linux", "setpriv": "util-linux"}


class Unavailable(Exception):
    """This machine cannot hold a lab; the text says why, in words."""


def check():
    """Raises `Unavailable` when something is missing that a look can tell."""
    if os.geteuid() != 0:
        raise Unavailable("a lab is a container with its own systemd, which only root may start")
    missing = {package for command, package in COMMANDS.items() if not shutil.which(command)}
    if missing:
        raise Unavailable(f"these Debian packages are not installed here: {', '.join(sorted(missing))}")
    trial = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    if trial.returncode:
        raise Unavailable(f"mounting is not allowed here: {trial.stderr.decode().strip()}")


@functools.cache
def can_overlay():
    """Whether an overlay can be put on what is under .build; not where that lies on an overlay itself."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PLACE) as place:
        for name in ("lower", "upper", "work", "root"):
            os.mkdir(f"{place}/{name}")
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        command = ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, f"{place}/root"]
        return subprocess.run(command, capture_output=True).returncode == 0


@functools.cache
def root():
    """The root's place; it is made when it is not there, which takes a minute or two."""
    check()
    facts = " ".join([SUITE, platform.machine(), str(RECIPE), *PACKAGES])
    place = PLACE / f"base-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    PLACE.mkdir(parents=True, exist_ok=True)
    with open(PLACE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(place)
        if not place.exists():
            print(f"\nlab: making a Debian {SUITE} root, once (a minute or two)", file=sys.__stderr__, flush=True)
            make(place)
    return place


def control_groups():
    """The control groups of this process in which systemd keeps its tree: of version 2, and of version 1 beside it."""
    groups = []
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        mounts = ["/sys/fs/cgroup/systemd"] if controllers == "name=systemd" else []
        if number == "0":
            mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        for mount in map(pathlib.Path, mounts):
            if (mount / path.lstrip("/") / "cgroup.procs").exists():
                groups.append(mount / path.lstrip("/"))
                break
    return groups


def remove_groups(groups):
    """Removes control groups with all below them, after ending whatever may be left in them."""
    for folder in [folder for group in groups for folder, _, _ in os.walk(group, topdown=False)]:
        with contextlib.suppress(FileNotFoundError):
            for pid in pathlib.Path(folder, "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
    for folder in [folder for group in groups for folder, _, _ in os.walk(group, topdown=False)]:
        # A process that is just ending still holds its group for a moment.
        end = time.monotonic() + 5
        while True:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError as failure:
                if failure.errno != errno.EBUSY or time.monotonic() > end:
                    raise
                time.sleep(0.02)
                continue
            break


def is_left_over(entry):
    """Whether that is named after a run that is not there any more."""
    if not entry.name.startswith("lab-"):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(entry.name.split("-")[1]), 0)
        return False
    return True


def sweep(keep):
    """Removes what runs that were killed have left, and roots of former package lists."""
    for folder in control_groups():
        remove_groups([entry for entry in folder.iterdir() if is_left_over(entry)])
    with contextlib.suppress(FileNotFoundError):
        for entry in filter(is_left_over, pathlib.Path("/run/systemd/nspawn/propagate").iterdir()):
            entry.rmdir()
    for entry in PLACE.iterdir():
        if is_left_over(entry) or (entry != keep and entry.name.startswith(("base-", "making"))):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def make(place):
    making = PLACE / "making"
    # In a namespace of its own, so that none of debootstrap's mounts outlives it.
    command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--variant=minbase",
               f"--include={','.join(PACKAGES)}", SUITE, str(making), *source()]
    with open(PLACE / "making.log", "wb") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        words = (PLACE / "making.log").read_text(errors="replace").strip()[-600:]
        shutil.rmtree(making, ignore_errors=True)
        raise Unavailable(f"debootstrap could not make a Debian {SUITE} root; the end of its words:\n{words}")
    for archive in (making / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()
    (making / "var/log/journal").mkdir(exist_ok=True)
    (making / "etc/hostname").write_text("lab\n")
    (making / "etc/hosts").write_text("127.0.0.1 localhost lab\n::1 localhost\n")
    for timer in ("apt-daily", "apt-daily-upgrade"):
        (making / f"etc/systemd/system/{timer}.timer").symlink_to("/dev/null")
    os.rename(making, place)


def source():
    """Where this machine gets its own Debian packages from; empty where that is unknown: debootstrap knows one."""
    with contextlib.suppress(FileNotFoundError):
        lines = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)",
             "Created-By: Packages"], capture_output=True, text=True).stdout.splitlines()
        for address, *rest in map(str.split, lines):
            if rest == [SUITE, "Debian", "main"]:
                return [address]
    return []
