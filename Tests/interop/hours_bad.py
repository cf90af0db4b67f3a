# Licensed under the Apache License 2.0; see LICENSE.
"""A bad hour: nearly everything that can go wrong at one gateway does, each thing on purpose and counted.

Five upstreams: `gone` dies, `torn` answers 500, `hung` never answers in time, `tardy` is slower than `log.slow_call`,
`fine` is well. The module `text` has too little memory for long texts.
"""

import contextlib
import signal

import gateway as house
import wire
from background import Repeated
from hours_scene import Hour
from upstreams import Moody

UPSTREAMS = ("gone", "torn", "hung", "tardy", "fine")
# For a module of 512 KiB: it asks for more step by step, it asks for much at once, it cannot be given the arguments.
TEXTS = (200_000, 400_000, 1_000_000)
WRONG_TOKENS = 120
SHED = {"PlaybookErrorRate", "ToolErrorRateHigh", "PerformanceDegraded"}
STORM = {"UpstreamAway", "BreakerOpenLong", "ResponseTimeHigh", "PlaybookResponseTime", "AuthFailures",
         "ConfigurationRefused", "UnknownCalls"}

TURNED_AWAY = "a call was turned away, and so failed"


class BadHour(Hour):
    def __init__(self, make, form):
        self.servers = {name: make.server(Moody()) for name in UPSTREAMS}
        upstreams = {name: {"url": server.url} for name, server in self.servers.items()}
        upstreams["gone"]["tools"] = {"work": {"offline": "queue"}}
        upstreams["hung"]["timeout"] = "1s"
        super().__init__(make, form, upstreams, ["text", "units"], {
            "auth": {"mode": "token"}, "server": {"reload_probation": "0s"}})
        self.wrong_tokens, self.limited, self.shed = 0, 0, 0

    def pass_by(self):
        gateway = self.gateway
        gateway.tables["tools.text"]["memory"] = "512KiB"
        self.reload()
        self.client.wait_for_tools(*(f"{name}__work" for name in UPSTREAMS), "text__echo")
        for name in UPSTREAMS:
            assert self.call(f"{name}__safe", {"n": "before"}) == ("safe before", False)
        self.watch.start()
        self.too_much_at_once()
        self.too_often()
        self.too_large()
        self.strangers()
        self.stored_and_lost()
        self.storm()
        self.firing = self.watch.firing()
        # Once as it is, with a file that a restart would meet; once with the file mended, and not yet read again.
        self.findings_beside_a_bad_file = self.doctor(1)
        self.gateway.write_configuration()
        self.look_around(doctor_code=1)

    def reload(self):
        self.gateway.write_configuration()
        self.order("reload", "POST", "/admin/reload")

    def too_much_at_once(self):
        """One call at a time, while several want to, until the alerts of that are on."""
        self.gateway.tables["limits"] = {"max_in_flight": 1, "max_waiting": 0}
        self.reload()
        begun = self.servers["fine"].arrivals
        old = self.client.legacy()
        with Repeated(0, lambda: self.squeeze_in("fine__work", {"n": "long", "seconds": 1})):
            house.eventually(lambda: begun("long"), 5, "the long call")
            short = {"n": "short"}
            with (Repeated(0.1, lambda: self.squeeze_in("fine__other", short)),
                  Repeated(0.5, lambda: self.squeeze_in("fine__other", short, old))):
                house.eventually(lambda: SHED <= self.watch.firing(), 40, "the alerts of shed load")
        self.gateway.tables["limits"] = {}
        self.reload()
        old.delete()

    def squeeze_in(self, tool, arguments, session=None):
        """Turned away, unless nobody else calls just then."""
        text, is_error = (session or self.client).call(tool, arguments)
        assert not is_error or "limits.max_in_flight" in text, text
        with self.lock:
            self.shed += is_error

    def too_often(self):
        self.order("limit.set", "POST", "/admin/rate-limit", {"requests_per_second": 0.001, "burst": 1})
        for n in range(6):
            text, is_error = self.client.call("fine__safe", {"n": str(n)})
            assert not is_error or "Too many" in text, text
            self.limited += is_error
        assert self.limited >= 5
        self.order("limit.undo", "DELETE", "/admin/rate-limit")

    def too_large(self):
        for letters in TEXTS:
            text, is_error = self.call("text__echo", {"text": "x" * letters})
            assert is_error, text[:200]

    def strangers(self):
        headers = {**wire.modern_headers("tools/list"), **self.client.credentials}
        for more, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 421)):
            request = wire.request("POST", "/mcp", {**headers, **more}, wire.modern_body("tools/list"))
            assert self.gateway.exchange(request).status == status
        for _ in range(WRONG_TOKENS):
            self.show_a_wrong_token()

    def show_a_wrong_token(self):
        assert self.gateway.showing("mcpgw_wrong").modern_response("tools/list").status == 401
        self.wrong_tokens += 1

    def stored_and_lost(self):
        """A server dies and calls for it are stored; it comes back, takes one, and dies before it has answered."""
        gone = self.servers["gone"]
        items = lambda: self.gateway.sql("SELECT status FROM queue_items ORDER BY id").split()
        gone.kill()
        assert self.call("gone__other", {"n": "first"})[1]
        self.store("lost")
        gone.start()
        gone.feel("cut")
        house.eventually(lambda: items() == ["unknown"], 20, "the answer that is lost")
        gone.kill()
        # Whoever notices first that it is gone is not stored yet, but tried.
        assert self.call("gone__other", {"n": "second"})[1]
        self.store("waits")
        self.store("waits, too")
        assert items() == ["unknown", "queued", "queued"]

    def store(self, n):
        text, is_error = self.call("gone__work", {"n": n})
        assert not is_error and text.startswith("NOT DONE YET"), text

    def storm(self):
        """Everybody goes on calling until the alerts of it are on."""
        self.gateway.configuration.write_text(self.gateway.configuration.read_text() + "\n[servr]\nlisten = 1\n")
        self.gateway.signal(signal.SIGHUP)
        house.eventually(lambda: self.gateway.stdout().count("configuration was refused") == 1, 10, "the refusal")
        self.servers["torn"].feel("failing", status=500)
        self.servers["hung"].feel("slow", seconds=3)
        self.servers["tardy"].feel("slow", seconds=2.1)
        with contextlib.ExitStack() as stack:
            # So few that each failure has a line of its own: at most fifty are written in ten seconds.
            for name, pause in (("gone", 1), ("torn", 1), ("hung", 0.5), ("fine", 0.5), *[("tardy", 0)] * 4):
                stack.enter_context(Repeated(pause, lambda name=name: self.call(f"{name}__other", {"n": "storm"})))
            house.eventually(lambda: STORM <= self.watch.have_fired(), 60, "the alerts of the storm")
        # With the first one after ten seconds comes the number of those that had no line.
        self.show_a_wrong_token()

