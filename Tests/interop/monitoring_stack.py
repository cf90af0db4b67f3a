# Licensed under the Apache License 2.0; see LICENSE.
"""A real Prometheus and a real Alertmanager on free loopback ports, with the shipped files, and whom they write to."""

import http.server
import json
import pathlib
import re
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import gateway as house
import monitoring_files as files


class Post(http.server.BaseHTTPRequestHandler):
    """Stands for Slack, PagerDuty and the status page."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.letters.append((self.path, body, dict(self.headers)))
        self.send_response(202 if self.path == "/pagerduty" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Mail(socketserver.StreamRequestHandler):
    """As much of an SMTP server as Alertmanager talks to."""

    def handle(self):
        self.say("220 test")
        to = []
        while line := self.rfile.readline().decode().strip():
            word = line.upper()
            if word.startswith("RCPT"):
                to.append(re.search("<(.*)>", line)[1])
            if word == "DATA":
                self.say("354 go on")
                text = b""
                while (one := self.rfile.readline()) not in (b".\r\n", b""):
                    text += one
                self.server.letters.append((to, text.decode()))
            self.say("221 bye" if word == "QUIT" else "250 fine")
            if word == "QUIT":
                return

    def say(self, words):
        self.wfile.write(words.encode() + b"\r\n")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.letters, self.port = [], self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


def shortened(rules):
    """The same rules with other times: `for` is a second, `keep_firing_for` five, ranges of minutes are as many seconds
    (at least five, which are ten scrapes), and the steps of the matrix come four hundred times sooner. Nothing else is
    changed; GatewayAbsent keeps its `for`, since a Prometheus that starts looks for targets only after some seconds.
    """
    head, *alerts = rules.split("- alert: ")
    alerts = [one if one.startswith("GatewayAbsent") else re.sub(r"\bfor: \d+[smh]$", "for: 1s", one, flags=re.M)
              for one in alerts]
    rules = "- alert: ".join([head, *alerts])
    rules = re.sub(r"\bkeep_firing_for: \d+m$", "keep_firing_for: 5s", rules, flags=re.M)
    rules = re.sub(r"\[(\d+)m\]", lambda found: f"[{max(int(found[1]), 5)}s]", rules)
    rules = re.sub(r">= (\d+) \* 60$", lambda found: f">= {int(found[1]) * 60 / 400}", rules, flags=re.M)
    return re.sub(r">= (\d+) \* 3600$", lambda found: f">= {int(found[1]) * 3600 / 400}", rules, flags=re.M)


class Stack:
    def __init__(self, gateway, token):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="gwm-"))
        self.gateway, self.token, self.processes = gateway, token, []
        self.post, self.mail, self.started = Server(Post), Server(Mail), None
        self.prometheus_port, self.alertmanager_port = house.free_port(), house.free_port()

    def start(self):
        self.write_prometheus()
        self.start_alertmanager()
        self.start_prometheus()
        return self

    def start_prometheus(self):
        """With the option that the README has set."""
        option = re.search(r"--rules\.alert\.for-grace-period=\w+", (files.PLACE / "README.md").read_text())[0]
        self.launch("prometheus", self.prometheus_port, f"--config.file={self.home}/prometheus.yml", option,
                    f"--storage.tsdb.path={self.home}/tsdb", f"--web.listen-address=127.0.0.1:{self.prometheus_port}")

    def restart_prometheus(self):
        process, log = self.processes.pop()
        process.terminate()
        process.wait(20)
        log.close()
        self.started = time.time()
        self.start_prometheus()

    def start_alertmanager(self):
        self.write_alertmanager()
        self.launch("prometheus-alertmanager", self.alertmanager_port, f"--config.file={self.home}/alertmanager.yml",
                    f"--storage.path={self.home}/am", "--cluster.listen-address=",
                    f"--web.listen-address=127.0.0.1:{self.alertmanager_port}")

    def write_prometheus(self):
        (self.home / "token").write_text(self.token)
        text = (files.PLACE / "prometheus/prometheus.yml").read_text()
        text = re.sub(r"(scrape|evaluation)_interval: 15s", r"\1_interval: 500ms", text)
        text = text.replace("scrape_timeout: 10s", "scrape_timeout: 500ms")
        text = text.replace("localhost:8080", f"127.0.0.1:{self.gateway.port}")
        text = text.replace("localhost:9093", f"127.0.0.1:{self.alertmanager_port}")
        text = text.replace("/etc/prometheus/mcp-gateway.token", str(self.home / "token"))
        (self.home / "prometheus.yml").write_text(text)
        for file in files.RULES:
            (self.home / file.name).write_text(shortened(file.read_text()))

    def write_alertmanager(self):
        secrets = self.home / "secrets"
        secrets.mkdir()
        for name in ("pagerduty-routing-key", "pagerduty-routing-key-engineering-lead", "pagerduty-routing-key-cto",
                     "smtp-password", "status-page-token"):
            (secrets / name).write_text(f"the {name}")
        address = f"http://127.0.0.1:{self.post.port}"
        (secrets / "slack-webhook-url").write_text(f"{address}/slack")
        text = files.ALERTMANAGER.read_text()
        text = text.replace("/etc/prometheus/alertmanager-secrets", str(secrets))
        text = text.replace("/etc/prometheus/alertmanager_templates", str(files.PLACE / "alertmanager/templates"))
        text = text.replace("mail.example.com:587", f"127.0.0.1:{self.mail.port}")
        text = text.replace("https://status.example.com", address)
        text = text.replace("global:\n", f"global:\n  smtp_require_tls: false\n  pagerduty_url: {address}/pagerduty\n")
        text = re.sub(r"group_wait: \w+", "group_wait: 0s", text)
        text = re.sub(r"group_interval: \w+", "group_interval: 1s", text)
        assert not re.search(r"https?://(?!127\.0\.0\.1)", text.split("global:", 1)[1]), "it would write to others"
        (self.home / "alertmanager.yml").write_text(text)

    def launch(self, name, port, *arguments):
        log = open(self.home / f"{name}.log", "wb")
        process = subprocess.Popen([name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   cwd=self.home)
        self.processes.append((process, log))

        def ready():
            assert process.poll() is None, (self.home / f"{name}.log").read_text()[-3000:]
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2).status == 200
            except OSError:
                return False

        house.eventually(ready, 20, f"the start of {name}")

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus_port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """[(labels, value)] of what it says now."""
        found = self.ask("query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def firing(self):
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def posts(self, path):
        return [body for at, body, _ in list(self.post.letters) if at == path]

    def mails(self, to):
        return [text for receivers, text in list(self.mail.letters) if f"{to}@example.com" in receivers]

    def told(self, *words):
        """The messages to #incidents that hold all of these."""
        texts = [part["title"] + "\n" + part["text"] for body in self.posts("/slack") for part in body["attachments"]]
        return [text for text in texts if all(word in text for word in words)]

    def amtool(self, *arguments):
        return files.run("amtool", f"--alertmanager.url=http://127.0.0.1:{self.alertmanager_port}", *arguments)

    def left_out(self, why):
        """Alerts that are on and not told: others tell the same (`--inhibited`), or somebody said so (`--silenced`)."""
        return self.amtool("alert", "query", why).stdout

    def raise_alerts(self, alerts):
        """Each by its labels, as Prometheus would."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts",
            json.dumps([{"labels": one} for one in alerts]).encode(), {"Content-Type": "application/json"})
        assert urllib.request.urlopen(request, timeout=10).status == 200

    def inhibited(self):
        """The labels of those that others inhibit now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts", timeout=10) as answer:
            return [one["labels"] for one in json.load(answer) if one["status"]["inhibitedBy"]]

    def complaints(self):
        """What the two programs say went wrong."""
        return [line for name in ("prometheus", "prometheus-alertmanager")
                for line in (self.home / f"{name}.log").read_text().splitlines() if "level=error" in line]

    def close(self):
        for process, log in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        self.post.close()
        self.mail.close()
        house.shutil.rmtree(self.home, ignore_errors=True)
