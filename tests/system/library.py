"""library: libshoal as a program of another project meets it: exported symbols, installed headers, pkg-config,
shared and static linking, and the example downloads a torrent."""

import os
import re
import shutil
import subprocess

from systemlib import LOOPBACK, SHOAL, Skip, create, main, make_tree, same_tree, seed

ROOT = os.environ["SHOAL_SOURCE_ROOT"]
BUILD = os.path.dirname(os.path.dirname(SHOAL))


# What docs/building.md tells those who link libshoal.a beside Debian's shared libraries.
STATIC_NEEDS = ["-lcrypto", "-luv", "-lcurl", "-lmicrohttpd", "-lsqlite3", "-pthread"]


def run(*argv, **kw):
    r = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, **kw)
    assert r.returncode == 0, f"{argv}: {r.stdout}{r.stderr}"
    return r.stdout


def declared():
    names = set()
    for header in ("error.h", "session.h"):
        with open(os.path.join(ROOT, "include", "shoal", header)) as f:
            names |= set(re.findall(r"SHOAL_API[^;]*?\b(shoal_\w+)\(", f.read()))
    return names


def only_declared_symbols_are_exported(place):
    lines = run("nm", "-D", "--defined-only", os.path.join(BUILD, "src", "libshoal.so")).split("\n")
    exported = {line.split()[-1].split("@")[0] for line in lines if line}
    sanitizers = {n for n in exported if n.startswith(("__asan", "__ubsan", "__odr_asan", "__tsan", "__sanitizer"))}
    assert exported - sanitizers == declared(), (exported - sanitizers) ^ declared()


def static_library_hides_the_rest(place):
    lines = run("nm", "-g", "--defined-only", os.path.join(BUILD, "src", "libshoal.a")).split("\n")
    names = {line.split()[-1] for line in lines if len(line.split()) == 3}
    assert names == declared(), names ^ declared()


def installed_and_linked(place, is_static=False):
    if "sanitize=none" not in run("meson", "introspect", "--buildoptions", BUILD).replace('"', "").replace(" ", "") \
            and "asan" in BUILD:
        raise Skip("a sanitizer build is not installed")
    env = dict(os.environ, DESTDIR=place.folder("dest"))
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env=env)
    found = [os.path.join(r, "pkgconfig") for r, d, _ in os.walk(place.path("dest")) if "pkgconfig" in d]
    pc = dict(os.environ, PKG_CONFIG_PATH=found[0], PKG_CONFIG_SYSROOT_DIR=place.path("dest"))
    args = run("pkg-config", "--cflags", "--libs", "shoal", env=pc).split()
    source = os.path.join(ROOT, "examples", "download.c")
    program = place.path("download")
    if is_static:
        libdir = os.path.dirname(found[0])
        args = [a for a in args if a.startswith("-I")] + [os.path.join(libdir, "libshoal.a")] + STATIC_NEEDS
    run("cc", source, *args, "-o", program)
    data = make_tree(place.folder("src", "data"), 4, {"a": 900_000, "b/c": 3})
    torrent = create(place, data)
    s = seed(place, torrent, place.path("src"))
    libdir = os.path.dirname(found[0])
    run(program, torrent, place.folder("out"), f"{LOOPBACK}:{s.port()}",
        env=dict(os.environ, LD_LIBRARY_PATH=libdir, XDG_STATE_HOME=place.folder("state")))
    assert same_tree(data, place.path("out", "data"))


def shared_linking(place):
    installed_and_linked(place)


def static_linking(place):
    installed_and_linked(place, is_static=True)


def headers_stand_alone(place):
    for compiler, language in (("cc", "c"), ("c++", "c++")):
        if not shutil.which(compiler):
            continue
        for header in ("error.h", "session.h", "shoal.h"):
            run(compiler, "-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                "-I", os.path.join(ROOT, "include"), "-include", f"shoal/{header}", "/dev/null")


main([only_declared_symbols_are_exported, static_library_hides_the_rest, shared_linking, static_linking,
      headers_stand_alone])
