"""swarmlib: real BitTorrent programs, each on an address of its own, in a network namespace that the
test makes for itself.

A test calls main(cases): the script starts itself again inside `unshare -n`, where 10.77.0.1 to
10.77.0.40 are on the loopback device and nothing can leave; each case gets a private folder and the
programs that it started are ended by their process handles, whatever happens.

Exit codes: 0 all passed, 1 a case failed, 77 nothing could be run here.
"""

import filecmp
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

SHOAL = os.environ.get("SHOAL", "build/shoal")
HERE = os.path.dirname(os.path.abspath(__file__))
LT_PYTHON = "/usr/bin/python3"  # Debian's python3-libtorrent belongs to Debian's python3


class Skip(Exception):
    """The case cannot run here (a program is not installed)."""


def address(n):
    return f"10.77.0.{n}"


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def need_libtorrent():
    ok = subprocess.run([LT_PYTHON, "-c", "import libtorrent"], stderr=subprocess.DEVNULL, check=False)
    if ok.returncode != 0:
        raise Skip("python3-libtorrent is not installed")


# --- namespace ------------------------------------------------------------------------------------


def enter_namespace():
    """Runs this script again in its own network namespace; returns once inside."""
    if os.environ.get("SHOAL_NETNS") == "1":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for n in range(1, 41):
            subprocess.run(["ip", "addr", "add", f"{address(n)}/24", "dev", "lo"], check=True)
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
    probe = subprocess.run(["unshare", *flags, "ip", "link", "set", "lo", "up"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if probe.returncode != 0:
        print("skipped: no network namespace can be made here (unshare -n, iproute2)")
        sys.exit(77)
    env = dict(os.environ, SHOAL_NETNS="1")
    os.execvpe("unshare", ["unshare", *flags, sys.executable, *sys.argv], env)


def ruling_congestion_control():
    """What a connection between two addresses of the namespace gets, at both ends."""
    with socket.create_server((address(1), 0)) as listener:
        with socket.create_connection(listener.getsockname(), source_address=(address(2), 0)) as a:
            with listener.accept()[0] as b:
                names = [s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) for s in (a, b)]
    return {name.rstrip(b"\0").decode() for name in names}


def set_congestion_control(name):
    """By the routes to the namespace's addresses: its sysctl only takes what the machine allows to everybody. A kernel
    that does not have it leaves things as they are. The machine's own needs no word in the routes, where it would also
    rule those who ask for another."""
    if ruling_congestion_control() == {name}:
        return
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as f:
        named = [] if f.read().strip() == name else ["congctl", name]
    for n in range(1, 41):
        subprocess.run(["ip", "route", "replace", "local", address(n), "dev", "lo", "table", "local", "proto", "kernel",
                        "scope", "host", "src", address(1), *named], stderr=subprocess.DEVNULL, check=False)


def wait_for(what, condition, seconds):
    """Polls until condition() is true; the deadline is the only clock."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {seconds} s: {what}")
        time.sleep(0.05)


# --- data -------------------------------------------------------------------------------------------


def make_tree(folder, seed, sizes):
    """Files of pseudo-random bytes: {relative path: size}. The same seed gives the same bytes."""
    rng = random.Random(seed)
    for path, size in sizes.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            while size > 0:
                n = min(size, 1 << 20)
                f.write(rng.randbytes(n))
                size -= n
    return folder


def bdecode(data, at=0):
    """Bencoding to Python values: (value, where it ends). For torrents that shoal made."""
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at:at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1:end], end


def make_pad_files(torrent, folder):
    """Writes the pad files (BEP 47) of a torrent: clients that do not know them want them on disk to seed."""
    with open(torrent, "rb") as f:
        info = bdecode(f.read())[0][b"info"]
    for entry in info.get(b"files", []):
        if b"p" in entry.get(b"attr", b""):
            path = os.path.join(folder, *[part.decode() for part in [info[b"name"], *entry[b"path"]]])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.truncate(entry[b"length"])


def files_of(folder):
    """Relative paths of all files, pad files aside."""
    out = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".pad"]
        out += [os.path.relpath(os.path.join(root, name), folder) for name in names]
    return sorted(out)


def same_tree(a, b):
    """True when every file of a is in b with the same bytes (b may hold a client's own files)."""
    if os.path.isfile(a):
        return os.path.isfile(b) and os.path.getsize(a) == os.path.getsize(b) and filecmp.cmp(a, b, False)
    for path in files_of(a):
        x, y = os.path.join(a, path), os.path.join(b, path)
        if not os.path.isfile(y) or os.path.getsize(x) != os.path.getsize(y):
            return False
        if not filecmp.cmp(x, y, shallow=False):
            return False
    return True


# --- processes ----------------------------------------------------------------------------------------


class Lab:
    """One case: a folder, the programs started in it, and the addresses handed out."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix="shoal-interop-")
        self.name = name
        self.clients = []
        self.next_address = 1
        self.keep = False

    def address(self):
        self.next_address += 1
        return address(self.next_address)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def folder(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def add(self, client):
        self.clients.append(client)
        return client

    def close(self):
        for client in reversed(self.clients):
            client.stop()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        for client in self.clients:
            client.print_log()


class Process:
    """A program with its output in a file of the lab."""

    def __init__(self, lab, name, argv, cwd=None, env=None):
        self.name = name
        self.log_path = lab.path(f"{name}.log")
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, cwd=cwd or lab.dir,
                                        env=env or dict(os.environ, HOME=lab.dir, LC_ALL="C.UTF-8"))
        lab.add(self)

    def is_running(self):
        return self.process.poll() is None

    def output(self):
        with open(self.log_path, "r", errors="replace") as f:
            return f.read()

    def wait(self, seconds):
        return self.process.wait(seconds)

    def stop(self, grace=5):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def print_log(self):
        text = self.output()[-3000:]
        print(f"--- {self.name} (exit {self.process.poll()})\n{text}")


# --- shoal ----------------------------------------------------------------------------------------------


class Shoal(Process):
    """shoal get or shoal seed, with its JSON events."""

    n = 0

    def __init__(self, lab, verb, args, ip=None, port=6881):
        Shoal.n += 1
        self.ip, self.port = ip or lab.address(), port
        state = lab.folder(f"state{Shoal.n}")
        env = dict(os.environ, HOME=lab.dir, XDG_STATE_HOME=state, LC_ALL="C.UTF-8")
        super().__init__(lab, f"shoal-{verb}-{Shoal.n}",
                         [SHOAL, verb, "--json", "--bind", self.ip, "--port", str(port), *args], env=env)

    def events(self):
        out = []
        for line in self.output().splitlines():
            if line.startswith("{"):
                try:
                    out.append(json.loads(line))
                except ValueError:
                    pass
        return out

    def saw(self, kind):
        return [e for e in self.events() if e.get("event") == kind]

    def wait_ready(self, seconds=20):
        """A seed is ready when it has announced its state 'seeding'."""
        wait_for("shoal seed is ready",
                 lambda: [e for e in self.saw("state") if e.get("state") == "seeding"] or self.must_run(), seconds)
        return self

    def must_run(self):
        assert self.is_running(), f"{self.name} ended early with {self.process.returncode}:\n{self.output()}"
        return False


def named_peers(shoal):
    """Announces of a shoal process that brought peers."""
    return [e for e in shoal.saw("tracker") if e["peers"] > 0]


def shoal_run(*args, check=True):
    result = subprocess.run([SHOAL, *args], capture_output=True, text=True, check=False, timeout=120)
    if check:
        assert result.returncode == 0, f"shoal {args}: exit {result.returncode}\n{result.stdout}{result.stderr}"
    return result


def shoal_create(lab, data, kind="--v1", tracker=None, piece_length="16K", name="t"):
    torrent = lab.path(f"{name}.torrent")
    args = ["create", kind, "--piece-length", piece_length, "-o", torrent, data]
    if tracker:
        args += ["--tracker", tracker]
    shoal_run(*args)
    return torrent


def shoal_seed(lab, torrent, data_dir, *args, **kw):
    return Shoal(lab, "seed", [torrent, "--dir", data_dir, *args], **kw).wait_ready()


def shoal_get(lab, torrent, out_dir, *args, **kw):
    os.makedirs(out_dir, exist_ok=True)
    return Shoal(lab, "get", [torrent, "--dir", out_dir, *args], **kw)


class ShoalTracker(Process):
    def __init__(self, lab, *args):
        self.ip, self.port = lab.address(), 6969
        super().__init__(lab, "shoal-tracker",
                         [SHOAL, "tracker", "--bind", self.ip, "--port", str(self.port), "--interval", "5", *args])
        self.http = f"http://{self.ip}:{self.port}/announce"
        self.udp = f"udp://{self.ip}:{self.port}"
        wait_for("shoal tracker answers", self.answers, 15)

    def answers(self):
        assert self.is_running(), self.output()
        try:
            urllib.request.urlopen(f"http://{self.ip}:{self.port}/stats.json", timeout=2).read()
            return True
        except OSError:
            return False

    def n_peers(self):
        stats = self.stats()
        return stats["peers_ipv4"] + stats["peers_ipv6"]

    def stats(self):
        return json.load(urllib.request.urlopen(f"http://{self.ip}:{self.port}/stats.json", timeout=5))


# --- the others -------------------------------------------------------------------------------------------


class Opentracker(Process):
    """Debian's build wants an allow-list; the path is relative to the chroot (-d)."""

    def __init__(self, lab, infohashes):
        need("opentracker")
        self.ip, self.port = lab.address(), 6969
        root = lab.folder("opentracker")
        os.chmod(lab.dir, 0o755)
        os.chmod(root, 0o755)
        with open(os.path.join(root, "allow"), "w") as f:
            f.write("".join(h + "\n" for h in infohashes))
        os.chmod(os.path.join(root, "allow"), 0o644)
        super().__init__(lab, "opentracker", ["opentracker", "-i", self.ip, "-p", str(self.port), "-P", str(self.port),
                                              "-d", root, "-w", "allow"])
        self.http = f"http://{self.ip}:{self.port}/announce"
        self.udp = f"udp://{self.ip}:{self.port}/announce"
        wait_for("opentracker answers", self.answers, 15)

    def answers(self):
        assert self.is_running(), self.output()
        try:
            urllib.request.urlopen(f"http://{self.ip}:{self.port}/stats", timeout=2).read()
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


class Libtorrent(Process):
    """Driven by lt_client.py; one JSON line a status change. peers: ["ip:port", ...]."""

    n = 0

    def __init__(self, lab, source, save_dir, peers=(), seed=False, ip=None, settings=None):
        need_libtorrent()
        Libtorrent.n += 1
        self.ip, self.port = ip or lab.address(), 6881
        os.makedirs(save_dir, exist_ok=True)
        argv = [LT_PYTHON, os.path.join(HERE, "lt_client.py"), "--ip", self.ip, "--port", str(self.port),
                "--save", save_dir, "--settings", json.dumps(settings or {}), source]
        for peer in peers:
            argv += ["--peer", peer]
        if seed:
            argv.append("--seed")
        super().__init__(lab, f"libtorrent-{Libtorrent.n}", argv)
        if seed:
            wait_for("libtorrent seeds", lambda: self.state() in ("seeding", "finished") or self.must_run(), 30)

    def must_run(self):
        assert self.is_running(), self.output()
        return False

    def status(self):
        lines = [line for line in self.output().splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    def state(self):
        return self.status().get("state")


class Aria2(Process):
    """Finds peers by tracker only: the torrent must name one. A seed needs the data in save_dir."""

    n = 0

    def __init__(self, lab, source, save_dir, seed=False, ip=None, extra=()):
        need("aria2c")
        Aria2.n += 1
        self.ip, self.port = ip or lab.address(), 6881
        os.makedirs(save_dir, exist_ok=True)
        argv = ["aria2c", "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
                "--enable-peer-exchange=false", f"--interface={self.ip}", f"--listen-port={self.port}",
                f"--dir={save_dir}", "--file-allocation=none", "--seed-ratio=0.0",
                "--bt-request-peer-speed-limit=0", "--bt-max-peers=0", "--summary-interval=0",
                "--console-log-level=notice", "--allow-overwrite=true", "--follow-torrent=mem", *extra]
        self.done_path = lab.path(f"aria2-{Aria2.n}.done")
        hook = lab.path(f"aria2-{Aria2.n}.sh")
        with open(hook, "w") as f:
            f.write(f"#!/bin/sh\nexec touch '{self.done_path}'\n")
        os.chmod(hook, 0o755)
        argv.append(f"--on-bt-download-complete={hook}")
        if seed:
            argv.append("--bt-seed-unverified=true")
        super().__init__(lab, f"aria2-{Aria2.n}", [*argv, source])


class Transmission(Process):
    """Never dials loopback, begins encrypted and comes back in the clear; slow first byte (10-12 s)."""

    n = 0

    def __init__(self, lab, torrent, save_dir, ip=None):
        need("transmission-daemon")
        Transmission.n += 1
        self.ip, self.port, self.rpc = ip or lab.address(), 51413, 9091
        os.makedirs(save_dir, exist_ok=True)
        config = lab.folder(f"transmission{Transmission.n}")
        settings = {
            "bind-address-ipv4": self.ip, "peer-port": self.port, "dht-enabled": False, "pex-enabled": False,
            "lpd-enabled": False, "utp-enabled": False, "port-forwarding-enabled": False, "encryption": 1,
            "rpc-enabled": True, "rpc-bind-address": self.ip, "rpc-port": self.rpc, "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False, "rpc-authentication-required": False,
            "download-dir": save_dir, "incomplete-dir-enabled": False, "start-added-torrents": True,
            "upload-slots-per-torrent": 20, "ratio-limit-enabled": False, "preallocation": 0,
        }
        with open(os.path.join(config, "settings.json"), "w") as f:
            json.dump(settings, f)
        super().__init__(lab, f"transmission-{Transmission.n}", ["transmission-daemon", "-f", "-g", config])
        self.session_id = ""
        wait_for("transmission answers", self.answers, 30)
        self.add(torrent)

    def answers(self):
        assert self.is_running(), self.output()
        try:
            return self.call("session-get", {})
        except OSError:
            return None

    def call(self, method, arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        for _ in range(2):
            request = urllib.request.Request(f"http://{self.ip}:{self.rpc}/transmission/rpc", body,
                                             {"X-Transmission-Session-Id": self.session_id})
            try:
                return json.load(urllib.request.urlopen(request, timeout=5))["arguments"]
            except urllib.error.HTTPError as e:
                if e.code != 409:
                    raise
                self.session_id = e.headers["X-Transmission-Session-Id"]
        raise OSError("transmission keeps asking for a session id")

    def add(self, torrent):
        key = "filename" if torrent.startswith("magnet:") else "metainfo"
        value = torrent
        if key == "metainfo":
            import base64
            with open(torrent, "rb") as f:
                value = base64.b64encode(f.read()).decode()
        self.call("torrent-add", {key: value})

    def torrent(self):
        rows = self.call("torrent-get", {"fields": ["percentDone", "status", "peersConnected", "error", "errorString"]})
        return rows["torrents"][0] if rows["torrents"] else {}

    def wait_seeding(self, seconds=60):
        wait_for("transmission seeds", lambda: self.torrent().get("status") == 6, seconds)
        return self


class Rtorrent(Process):
    """One peer per address; silently ignores a torrent without `announce`. Adds by its load command."""

    n = 0

    def __init__(self, lab, torrent, save_dir, ip=None):
        need("rtorrent")
        Rtorrent.n += 1
        self.ip, self.port = ip or lab.address(), 6881
        os.makedirs(save_dir, exist_ok=True)
        session = lab.folder(f"rtorrent{Rtorrent.n}")
        rc = os.path.join(session, "rc")
        self.done_path = os.path.join(session, "done")
        with open(rc, "w") as f:
            f.write(f"""system.daemon.set = true
session.path.set = {session}
directory.default.set = {save_dir}
network.bind_address.set = {self.ip}
network.local_address.set = {self.ip}
network.port_range.set = {self.port}-{self.port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
trackers.use_udp.set = yes
pieces.hash.on_completion.set = no
throttle.max_uploads.global.set = 200
throttle.max_uploads.set = 50
throttle.min_peers.normal.set = 1
method.set_key = event.download.finished,touch,"execute.nothrow=touch,{self.done_path}"
load.start = {torrent}
""")
        super().__init__(lab, f"rtorrent-{Rtorrent.n}", ["rtorrent", "-n", "-o", f"import={rc}"],
                         env=dict(os.environ, HOME=session, TERM="xterm", LC_ALL="C.UTF-8"))


class Qbittorrent(Process):
    n = 0

    def __init__(self, lab, torrent, save_dir, ip=None, seed=False):
        need("qbittorrent-nox")
        Qbittorrent.n += 1
        self.ip, self.port, self.web = ip or lab.address(), 6881, 8080
        os.makedirs(save_dir, exist_ok=True)
        profile = lab.folder(f"qbittorrent{Qbittorrent.n}")
        config = os.path.join(profile, "qBittorrent", "config")
        os.makedirs(config)
        with open(os.path.join(config, "qBittorrent.conf"), "w") as f:
            f.write(f"""[LegalNotice]
Accepted=true
[BitTorrent]
Session\\Port={self.port}
Session\\InterfaceAddress={self.ip}
Session\\DHTEnabled=false
Session\\PeXEnabled=false
Session\\LSDEnabled=false
Session\\QueueingSystemEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\RefreshInterval=50
Session\\DefaultSavePath={save_dir}
Session\\SSRFMitigation=false
[Network]
PortForwardingEnabled=false
[Preferences]
WebUI\\Address={self.ip}
WebUI\\Port={self.web}
WebUI\\AuthSubnetWhitelistEnabled=true
WebUI\\AuthSubnetWhitelist=10.77.0.0/24
WebUI\\HostHeaderValidation=false
WebUI\\CSRFProtection=false
WebUI\\UseUPnP=false
""")
        super().__init__(lab, f"qbittorrent-{Qbittorrent.n}",
                         ["qbittorrent-nox", f"--profile={profile}", f"--webui-port={self.web}"])
        wait_for("qbittorrent answers", self.answers, 60)
        self.add(torrent, save_dir, seed)

    def url(self, path):
        return f"http://{self.ip}:{self.web}/api/v2/{path}"

    def answers(self):
        assert self.is_running(), self.output()
        try:
            return urllib.request.urlopen(self.url("app/version"), timeout=2).read()
        except OSError:
            return None

    def add(self, torrent, save_dir, seed):
        fields = {"savepath": save_dir, "skip_checking": "true" if seed else "false", "contentLayout": "Original"}
        boundary = "swarmlibswarmlib"
        body = b""
        if torrent.startswith("magnet:"):
            fields["urls"] = torrent
        else:
            with open(torrent, "rb") as f:
                body += (f'--{boundary}\r\nContent-Disposition: form-data; name="torrents"; filename="t.torrent"\r\n'
                         "Content-Type: application/x-bittorrent\r\n\r\n").encode() + f.read() + b"\r\n"
        for key, value in fields.items():
            body += f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        body += f"--{boundary}--\r\n".encode()
        request = urllib.request.Request(self.url("torrents/add"), body,
                                         {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        urllib.request.urlopen(request, timeout=10).read()

    def info(self):
        rows = json.load(urllib.request.urlopen(self.url("torrents/info"), timeout=5))
        return rows[0] if rows else {}

    def wait_seeding(self, seconds=60):
        wait_for("qbittorrent seeds", lambda: self.info().get("state") in ("uploading", "stalledUP", "queuedUP"), seconds)
        return self


# --- main ------------------------------------------------------------------------------------------------------


def infohash_v1(torrent):
    return json.loads(shoal_run("show", "--json", torrent).stdout)["infohash_v1"]


def sha256_file(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def run_case(case):
    lab = Lab(case.__name__)
    began = time.monotonic()
    try:
        case(lab)
        print(f"ok       {case.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        return "ok"
    except Skip as e:
        print(f"skipped  {case.__name__}: {e}", flush=True)
        return "skipped"
    except Exception:
        print(f"FAILED   {case.__name__} ({time.monotonic() - began:.1f} s)")
        traceback.print_exc(file=sys.stdout)
        lab.logs()
        sys.stdout.flush()
        return "failed"
    finally:
        lab.close()


def main(cases):
    enter_namespace()
    set_congestion_control("cubic")  # the usual one: uploads lend their pages (tcp.h); tests/system takes the machine's
    print(f"congestion control: {', '.join(ruling_congestion_control())}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = sys.argv[1:]
    results = [run_case(c) for c in cases if not wanted or c.__name__ in wanted]
    if "failed" in results:
        sys.exit(1)
    sys.exit(0 if "ok" in results else 77)
