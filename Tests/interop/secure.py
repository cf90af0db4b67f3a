# Licensed under the Apache License 2.0; see LICENSE.
"""A gateway that speaks TLS, with an authority that makes certificates for it and for others."""

import re
import shutil
import ssl
import subprocess

import gateway as house
import wire

SITE = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*words, text=None):
    ran = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, input=text, timeout=30)
    assert ran.returncode == 0, (words, ran.stderr)
    return ran.stdout


class Pair:
    """A certificate and its key, as two files."""

    def __init__(self, folder, name):
        self.name, self.certificate, self.key = name, folder / f"{name}.pem", folder / f"{name}.key"

    @property
    def serial(self):
        return openssl("x509", "-in", self.certificate, "-noout", "-serial").strip().split("=")[1]


class Authority(Pair):
    """One that signs certificates."""

    def __init__(self, folder, name):
        super().__init__(folder, name)
        self.folder = folder
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30",
                "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)
        self.key.chmod(0o600)

    def sign(self, name, extension=SITE, days=30):
        pair = Pair(self.folder, name)
        asked = openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", f"/CN={name}",
                        "-keyout", pair.key)
        extensions = self.folder / "extensions"
        extensions.write_text(extension + "\n")
        openssl("x509", "-req", "-CA", self.certificate, "-CAkey", self.key, "-days", days, "-extfile", extensions,
                "-out", pair.certificate, text=asked)
        pair.key.chmod(0o600)
        return pair


class Shop:
    """An authority with what it has signed; made once, since keys take their time."""

    def __init__(self, folder):
        self.authority, self.strangers = Authority(folder, "authority"), Authority(folder, "strangers")
        self.server, self.renewed = self.authority.sign("server"), self.authority.sign("renewed")
        self.expired, self.soon = self.authority.sign("expired", days=-1), self.authority.sign("soon", days=3)
        self.client = self.authority.sign("client", "extendedKeyUsage=clientAuth")
        self.stranger = self.strangers.sign("stranger", "extendedKeyUsage=clientAuth")

    def context(self, pair=None):
        """What a client in Python trusts, and what it shows."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


class Secure(wire.Connection):
    """One connection by TLS. What goes wrong with the handshake is raised as `ssl.SSLError`, or as `OSError`."""

    def __init__(self, port, context, timeout=10):
        super().__init__(port, timeout)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        except BaseException:
            self.socket.close()
            raise

    @property
    def serial(self):
        return self.socket.getpeercert()["serialNumber"]


class Gateway(house.Gateway):
    """A gateway that speaks TLS only."""

    def __init__(self, shop, cache, server=None, upstreams=None, **more):
        super().__init__(upstreams, wasm_cache=cache)
        self.shop, self.client = shop, None
        self.certificate, self.key = self.home / "certificate.pem", self.home / "key.pem"
        self.tables["server"].update(more)
        self.tables["server.tls"] = {"certificate": self.certificate, "key": self.key}
        self.put(server or shop.server)

    def put(self, pair):
        """Other files at the same places."""
        shutil.copy(pair.certificate, self.certificate)
        shutil.copy(pair.key, self.key)

    def ask_clients(self, required=True):
        self.tables["server.tls"].update(client_ca=self.shop.authority.certificate, require_client_certificate=required)
        return self

    def connect(self, pair=None, timeout=10):
        return Secure(self.port, self.shop.context(pair), timeout)

    def exchange(self, data, method="POST", timeout=15):
        with self.connect(self.client, timeout) as connection:
            connection.send(data)
            return connection.response(method)

    def wait_until_healthy(self, seconds=30):
        def healthy():
            assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}:\n{self.stdout()}"
            try:
                # The control socket answers a little earlier than the listener.
                return self.order("GET", "/health", socket=True)[0] == 200 and house.answers_tcp(self.port)
            except OSError:
                return False

        house.eventually(healthy, seconds, "the health of the gateway")

    @property
    def failures(self):
        """Handshakes that have failed, as the metrics tell."""
        with wire.Connection(str(self.control)) as connection:
            connection.send(wire.request("GET", "/metrics", {}, host="localhost"))
            text = connection.response("GET").body.decode()
        return int(re.search(r"^mcp_tls_handshake_failures_total (\d+)$", text, re.MULTILINE)[1])

    def refusals(self):
        log = self.home / "log/security.log"
        return [line for line in log.read_text().splitlines() if "tls_refused" in line] if log.exists() else []

    def hang_up(self):
        """HUP, and the outcome of the reload: whether it was taken."""
        outcomes = lambda: re.findall("configuration read again|configuration was refused", self.stdout())
        before = len(outcomes())
        self.write_configuration()
        self.signal(house.signal.SIGHUP)
        return house.eventually(lambda: outcomes()[before:], 20, "the reload")[0] == "configuration read again"
