# Licensed under the Apache License 2.0; see LICENSE.
"""A quiet day: clients of every revision call tools of every kind, operators take care, and nothing goes wrong."""

import signal

import conformance
import gateway as house
import wire
from conformance import OldSession, listen
from hours_scene import Hour
from upstreams import Moody

UPSTREAMS = ("shop", "desk", "pipe")
TOOLS = {"work": {"offline": "queue"}, "safe": {"offline": "stale", "cache": "1s"}}


class Day(Hour):
    def __init__(self, make, form, folder):
        self.shop, self.desk = make.server(Moody()), make.server(conformance.fixture_server("modern"))
        command, *arguments = conformance.fixture_command("legacy", "stdio", folder / f"{form}.json")
        super().__init__(make, form, {
            "shop": {"url": self.shop.url, "tools": TOOLS}, "desk": {"url": self.desk.url},
            "pipe": {"command": command, "args": arguments}}, ["text", "units"], {})
        self.target = conformance.Target("modern-http", self.gateway.port, self.gateway)

    def pass_by(self):
        self.everybody_is_there()
        self.watch.start()
        self.morning()
        self.care()
        self.everybody_is_there()
        self.morning()
        self.settle()
        self.first_life = self.metrics()
        self.first_rows = self.gateway.sql(
            "SELECT method, status, count(*) FROM request_log GROUP BY 1, 2").splitlines()
        assert self.gateway.terminate() == 0
        self.rows_before = self.count_rows()
        self.gateway.start()
        self.everybody_is_there()
        self.morning()
        house.eventually(lambda: self.watch.query("up == 1"), 10, "a scrape of the second life")
        self.look_around(doctor_code=0)
        # What was put aside by hand in the middle of the day belongs to it as well.
        self.found_earlier = {name: self.grep(name, "app.log.old") for name in ("errors", "times", "memory")}
        self.earlier = (self.gateway.home / "log/app.log.old").read_text().splitlines()

    def everybody_is_there(self):
        self.gateway.wait_for_tools("shop__work", "desk__about", "pipe__about", "text__echo", "units__convert")

    # Clients.

    def morning(self):
        self.call_much()
        for version in wire.LEGACY:
            self.use_a_session(version)
        self.ask_the_modern_way()
        self.listen_for_a_while()
        self.make_mistakes()

    def good(self, tool, arguments=None, session=None):
        text, is_error = self.call(tool, arguments, session)
        assert not is_error, text
        return text

    def call_much(self):
        with wire.Connection(self.gateway.port) as connection:
            for n in range(60):
                for name, arguments in (("text__echo", {"text": str(n)}), ("shop__work", {"n": str(n)})):
                    connection.send(wire.modern_request("tools/call", {"name": name, "arguments": arguments}, n))
                    assert connection.response().status == 200
        for n in range(10):
            self.good("units__convert", {"value": 1, "from": "km", "to": "m"})
            self.good("shop__safe", {"n": str(n % 2)})
            self.good("desk__greet", {"name": "you"})
            self.good("pipe__greet", {"name": "me"})

    def use_a_session(self, version):
        session = self.gateway.legacy(version)
        for method in ("ping", "tools/list", "resources/list", "resources/templates/list", "prompts/list"):
            assert "result" in session.request(method), (version, method)
        for name, params in (("prompts/get", {"name": "desk__test_simple_prompt"}),
                             ("resources/read", {"uri": "pipe+test://static-text"})):
            assert "result" in session.request(name, params), (version, name)
        for n in range(5):
            for owner in ("desk", "pipe"):
                self.good(f"{owner}__test_simple_text", {}, session)
            self.good("text__slug", {"text": "A Title"}, session)
        assert self.call("pipe__test_error_handling", {}, session)[1], "it says itself that it could not"
        with wire.Connection(self.gateway.port) as connection:
            connection.send(wire.request("GET", "/mcp", {**session.headers, "Accept": "text/event-stream"}))
            stream = wire.Stream(connection, "GET")
            assert stream.status == 200 and stream.is_event_stream
        assert session.delete().status in (200, 202, 204)

    def ask_the_modern_way(self):
        for method in ("server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list"):
            assert self.gateway.modern(method)[0] == 200, method
        for owner in ("desk", "pipe"):
            assert self.call(f"{owner}__test_error_handling")[1]
            progress = self.target.call(f"{owner}__test_tool_with_progress", {}, meta={"progressToken": owner})
            assert progress.told("notifications/progress")
        # Somebody leaves in the middle of his call.
        with self.target.open("tools/call", {
                "name": "desk__slow_progress", "arguments": {"steps": 50, "pause": 0.1, "tag": "left"}},
                meta={"progressToken": "left"}) as left:
            assert left.status == 200 and left.next(5)["method"] == "notifications/progress"

    def listen_for_a_while(self):
        with listen(self.target, toolsListChanged=True) as hearing:
            # Just after a restart of its server the gateway hears nothing of it for seconds, and then looks itself.
            for present in (True, False):
                self.target.call("desk__change_tools", {"present": present})
                assert hearing.next(15)["method"] == "notifications/tools/list_changed"
        with OldSession(self.target) as session:
            assert session.ask("ping")["result"] == {}
            assert session.call("desk__greet", {"name": "old friend"}) == "Hello, old friend!"

    def make_mistakes(self):
        """Those of clients, which are theirs and no errors of ours."""
        session = self.gateway.legacy()
        for name, arguments in (("nobody__nothing", {}), ("text__echo", {"text": 5}), ("units__convert", {})):
            status, message = self.gateway.modern("tools/call", {"name": name, "arguments": arguments})
            assert "error" in message or message["result"]["isError"], (name, message)
            session.request("tools/call", {"name": name, "arguments": arguments})
        assert "error" in session.request("resources/read", {"uri": "nobody://memory/error"})
        assert "error" in session.request("no/such/method")
        session.delete()
        assert session.post(wire.legacy_body("ping")).status == 404, "it is over"
        assert self.gateway.exchange(wire.request("POST", "/mcp", wire.LEGACY_HEADERS, b"{no json")).status == 400
        assert self.gateway.get("/error/panic/oom").status == 404
        assert self.gateway.exchange(wire.request("PUT", "/mcp", {}, b"x"), "PUT").status == 405

    # Operators.

    def care(self):
        gateway = self.gateway
        lines = lambda words: gateway.stdout().count(words)
        gateway.signal(signal.SIGUSR1)
        house.eventually(lambda: lines("resident_after") == 1, 10, "the memory that was given back")
        log = gateway.home / "log/app.log"
        log.rename(log.with_name("app.log.old"))
        gateway.signal(signal.SIGUSR2)
        house.eventually(lambda: log.exists() and lines("log files opened anew") == 1, 10, "the new file")
        gateway.hang_up()
        # Three changes that harm nobody; the names of two of the keys are words that the playbook looks for.
        gateway.tables["upstreams.shop"]["tools"]["work"]["description"] = "Works."
        gateway.hang_up()
        gateway.tables["server"]["request_timeout"] = "50s"
        gateway.tables["log"]["slow_call"] = "3s"
        gateway.hang_up()
        self.verb("backup", what=["storage.backup"])
        self.order("cache.clear", "POST", "/admin/cache/clear")
        self.order("storage.rebuild", "POST", "/admin/rebuild-indices")
        self.order("upstreams.sync", "POST", "/admin/sync/force")
        for server in (self.shop, self.desk):
            server.process.terminate()
            server.process.wait(20)
            server.start()
        healthy = lambda: all(gateway.component(f"upstream:{name}")["status"] == "healthy" for name in UPSTREAMS)
        house.eventually(healthy, 15, "the upstreams")
