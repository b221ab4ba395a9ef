"""systemlib: runs the built program as a user would, on 127.0.0.1 and in a private folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from swarmlib import Skip, make_tree, same_tree, wait_for  # noqa: F401 (for the tests)

SHOAL = os.environ.get("SHOAL", "build/shoal")
LOOPBACK = "127.0.0.1"


class Run:
    """One shoal process with --json; its events are gathered as they come."""

    def __init__(self, place, *args, state=None, cwd=None):
        self.events, self.text = [], []
        env = dict(os.environ, XDG_STATE_HOME=state or place.folder("state"), LC_ALL="C.UTF-8")
        self.process = subprocess.Popen([SHOAL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=env, cwd=cwd or place.dir)
        self.readers = [threading.Thread(target=self.read, args=(pipe,), daemon=True)
                        for pipe in (self.process.stdout, self.process.stderr)]
        for reader in self.readers:
            reader.start()
        place.runs.append(self)

    def read(self, pipe):
        for line in pipe:
            if line.startswith("{"):
                self.events.append(json.loads(line))
            else:
                self.text.append(line)

    def saw(self, kind, **fields):
        return [e for e in list(self.events)
                if e["event"] == kind and all(e.get(k) == v for k, v in fields.items())]

    def wait_event(self, kind, seconds=30, **fields):
        def look():
            found = self.saw(kind, **fields)
            if not found and self.process.poll() is not None:
                self.join()
                found = self.saw(kind, **fields)
                assert found, f"ended with {self.process.returncode} before '{kind}': {''.join(self.text)}"
            return found
        return wait_for(f"event {kind} {fields}", look, seconds)[-1]

    def join(self):
        for reader in self.readers:
            reader.join(10)

    def wait(self, seconds=60):
        self.process.wait(seconds)
        self.join()
        return self.process.returncode

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.join()

    def stop(self, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def port(self):
        return self.wait_event("listening")["port"]


class Place:
    """A case's private folder and what runs in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="shoal-system-")
        self.runs = []

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def folder(self, *parts):
        os.makedirs(self.path(*parts), exist_ok=True)
        return self.path(*parts)

    def close(self):
        for run in self.runs:
            if run.process.poll() is None:
                run.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        for run in self.runs:
            print("---", " ".join(run.process.args), "->", run.process.poll())
            print("".join(run.text)[-1500:])
            for event in run.events[-15:]:
                print("   ", json.dumps(event)[:400])


def shoal(*args, expect=0, cwd=None, env=None):
    """Runs to the end; returns the finished process after checking its exit code."""
    r = subprocess.run([SHOAL, *args], capture_output=True, text=True, timeout=120, check=False, cwd=cwd,
                       stdin=subprocess.DEVNULL, env=env)
    assert r.returncode == expect, f"shoal {args}: exit {r.returncode}, want {expect}\n{r.stdout}{r.stderr}"
    return r


def create(place, data, *args, name="t"):
    torrent = place.path(name + ".torrent")
    shoal("create", data, "-o", torrent, *args)
    return torrent


def seed(place, torrent, folder, *args):
    run = Run(place, "seed", torrent, "--dir", folder, "--bind", LOOPBACK, "--json", *args,
              state=place.folder("seed-state"))
    run.wait_event("state", state="seeding")
    return run


def get(place, torrent, folder, *args, peer=None, state="get-state"):
    os.makedirs(folder, exist_ok=True)
    extra = ["--peer", f"{LOOPBACK}:{peer}"] if peer else []
    return Run(place, "get", torrent, "--dir", folder, "--bind", LOOPBACK, "--json", *extra, *args,
               state=place.folder(state))


def main(cases):
    wanted = sys.argv[1:]
    results = []
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        place, began = Place(), time.monotonic()
        try:
            case(place)
            results.append("ok")
            print(f"ok       {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        except Skip as e:
            results.append("skipped")
            print(f"skipped  {case.__name__}: {e}", flush=True)
        except Exception:
            results.append("failed")
            print(f"FAILED   {case.__name__}")
            traceback.print_exc(file=sys.stdout)
            place.logs()
        finally:
            place.close()
    sys.exit(1 if "failed" in results else 0 if "ok" in results else 77)
