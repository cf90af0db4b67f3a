# Licensed under the Apache License 2.0; see LICENSE.
"""Several gateways on one storage directory: each has a folder of its own, and what one has accepted is sent when it is gone."""

import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import gateway as house
from shop import handle_in
from upstreams import Moody

QUEUED = {"work": {"offline": "queue"}, "safe": {"offline": "queue", "idempotent": True}}


class Volume:
    """A directory that gateways share, with the gateways on it."""

    def __init__(self, make, erp_port, sections=None, maximum=3):
        self.make, self.erp_port, self.sections, self.maximum = make, erp_port, sections or {}, maximum
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="gwv-"))
        make.later(lambda: shutil.rmtree(self.place, ignore_errors=True))

    def gateway(self, start=True):
        storage = {"directory": self.place, "replicas": True, "replicas_max": self.maximum, "adopt_after": "2s"}
        up = {"url": f"http://127.0.0.1:{self.erp_port}/mcp", "timeout": "5s", "tools": QUEUED}
        one = self.make.gateway({"erp": up}, sections={"storage": storage, **self.sections}, start=start)
        return one

    def gateway_alone(self):
        """One from before there were replicas."""
        one = self.gateway(start=False)
        one.tables["storage"] = {"directory": self.place}
        return one.start() or one

    def folders(self):
        return sorted(one.name for one in self.place.iterdir() if one.name.startswith("replica-"))

    def rows(self, folder, query):
        ran = subprocess.run(["sqlite3", str(self.place / folder / "queue.db"), query], capture_output=True, text=True, timeout=20)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()


def place(gateway):
    return gateway.component("replicas")["detail"]


@pytest.fixture
def server(make):
    """An upstream whose tools are known by now, and which is away."""
    return make.server(Moody())


def away(server, *gateways):
    for one in gateways:
        one.wait_for_tools("erp__work")
    server.kill()


def test_each_takes_a_folder_of_its_own_and_one_too_many_says_so(make, server):
    volume = Volume(make, server.port)
    first, second, third = volume.gateway(), volume.gateway(), volume.gateway()
    assert [place(one) for one in (first, second, third)] == ["this is replica-1", "this is replica-2", "this is replica-3"]
    assert volume.folders() == ["replica-1", "replica-2", "replica-3"]
    fourth = volume.gateway(start=False)
    fourth.start(wait=False)
    assert fourth.process.wait(20) == 1
    assert "all 3 places of storage.replicas_max are taken" in fourth.stdout()
    assert volume.folders() == ["replica-1", "replica-2", "replica-3"]
    second.terminate()
    again = volume.gateway()
    assert place(again) == "this is replica-2", "a place that is free is taken again"


def test_what_a_gateway_accepted_is_sent_by_another_when_it_is_gone(make, server):
    volume = Volume(make, server.port)
    stays, goes, dies = volume.gateway(), volume.gateway(), volume.gateway()
    away(server, stays, goes, dies)
    handles = [handle_in(one.call(tool, {"n": f"{name}{n}"})[0])
               for name, one in (("goes", goes), ("dies", dies)) for n in range(3) for tool in ("erp__work", "erp__safe")]
    assert len(set(handles)) == 12
    assert goes.terminate() == 0
    dies.kill()
    # Nobody takes a folder while its calls could only be held: its gateway may come back.
    waiting = [f"6 calls of replica-{n} wait for erp" for n in (2, 3)]
    house.eventually(lambda: place(stays) == "; ".join(["this is replica-1", *waiting]), 20, "what is left")
    assert stays.component("replicas")["status"] == "healthy", "it is no more than a server that is away"
    server.start()
    house.eventually(lambda: len(server.arrivals()) == 12, 60, "all calls")
    house.eventually(lambda: place(stays) == "this is replica-1", 40, "the end of the adoption")
    calls = [(call["tool"], call["n"]) for call in server.arrivals()]
    assert sorted(calls) == sorted((tool, f"{name}{n}") for name in ("goes", "dies") for n in range(3) for tool in ("work", "safe"))
    # The results are to be had from whoever is asked.
    text, is_error = stays.call("gateway__queue_result", {"handle": handles[0]})
    assert (text, is_error) == ("work goes0", False)
    assert volume.rows("replica-2", "SELECT DISTINCT status FROM queue_items") == "completed"


def test_a_handle_is_good_at_every_gateway_and_only_for_its_caller(make, server):
    volume = Volume(make, server.port, {"auth": {"mode": "token"}})
    first, second = volume.gateway(), volume.gateway()
    ann, bob = first.new_token("ann"), first.new_token("bob")
    ann1, ann2, bob2 = first.showing(ann), second.showing(ann), second.showing(bob)
    house.eventually(lambda: ann2.modern("tools/list")[0] == 200, 10, "the token at the other gateway")
    ann1.wait_for_tools("erp__work")
    server.kill()
    handle = handle_in(ann1.call("erp__work", {"n": "1"})[0])
    status, is_error = ann2.call("gateway__queue_status", {"handle": handle})
    assert ": queued." in status and not is_error, status
    assert "no stored call" in bob2.call("gateway__queue_result", {"handle": handle})[0]
    server.start()
    house.eventually(lambda: ann2.call("gateway__queue_result", {"handle": handle}) == ("work 1", False), 30, "the result")
    assert "no stored call" in bob2.call("gateway__queue_result", {"handle": handle})[0]
    # Ann has just asked more often than anybody may in a second.
    assert "no stored call" in bob2.call("gateway__queue_result", {"handle": "call-" + "0" * 32})[0]


def test_a_session_goes_on_at_another_gateway(make, server):
    volume = Volume(make, server.port)
    first, second = volume.gateway(), volume.gateway()
    second.wait_for_tools("erp__work")
    session = first.legacy()
    session.gateway = second
    assert session.call("erp__work", {"n": "moved"}) == ("work moved", False)
    keys = volume.place / "keys"
    assert (keys / "session.key").stat().st_mode & 0o777 == 0o600
    assert not list(volume.place.glob("replica-*/keys"))


def test_gateways_that_start_together_agree_on_one_key(make, server):
    volume = Volume(make, server.port, maximum=6)
    gateways = [volume.gateway(start=False) for _ in range(6)]
    for one in gateways:
        one.start(wait=False)
    for one in gateways:
        one.wait_until_healthy()
    session = gateways[0].legacy()
    for one in gateways[1:]:
        session.gateway = one
        assert session.request("ping")["result"] == {}
    assert sorted(place(one) for one in gateways) == [f"this is replica-{n}" for n in range(1, 7)]


def test_calls_of_a_gateway_that_had_no_replicas_are_sent_too(make, server):
    volume = Volume(make, server.port)
    alone = volume.gateway_alone()
    away(server, alone)
    handle = handle_in(alone.call("erp__work", {"n": "old"})[0])
    assert alone.terminate() == 0
    one = volume.gateway()
    assert volume.folders() == ["replica-1"]
    server.start()
    house.eventually(lambda: [call["n"] for call in server.arrivals()] == ["old"], 60, "the call")
    house.eventually(lambda: place(one) == "this is replica-1", 40, "the end of it")
    assert one.call("gateway__queue_result", {"handle": handle}) == ("work old", False)


def test_a_folder_whose_gateway_runs_is_left_alone(make, server):
    volume = Volume(make, server.port)
    first, second, third = volume.gateway(), volume.gateway(), volume.gateway()
    away(server, first, second, third)
    handle_in(first.call("erp__work", {"n": "mine"})[0])
    # The third one's calls show when the second one has looked around for long enough to take what is free.
    handle_in(third.call("erp__work", {"n": "third"})[0])
    assert third.terminate() == 0
    house.eventually(lambda: "1 calls of replica-3 wait for erp" in place(second), 20, "a look")
    assert "replica-1" not in place(second)
    assert second.terminate() == 0 and first.terminate() == 0


def test_a_call_whose_answer_was_lost_with_its_gateway_is_seen_and_can_be_decided(make, server):
    volume = Volume(make, server.port)
    stays, dies = volume.gateway(), volume.gateway()
    away(server, stays, dies)
    handle = handle_in(dies.call("erp__work", {"n": "half", "seconds": 30})[0])
    server.start()
    house.eventually(lambda: server.arrivals("half"), 30, "the call at its server")
    dies.kill()
    house.eventually(lambda: stays.component("replicas")["status"] == "degraded", 40, "the news")
    said = place(stays)
    assert "replica-2: 1 call was sent without an answer" in said and "queue list --status unknown" in said
    assert stays.health()["status"] == "degraded"
    assert stays.stdout().count("has left something for a person") == 1
    ran = stays.verb("doctor", "--json", code=1)
    assert [one for one in json.loads(ran.stdout)["findings"] if "replica-2: 1 call was" in one["words"]], ran.stdout
    assert "unknown" in stays.call("gateway__queue_status", {"handle": handle})[0]
    # As the words say: one more gateway takes the folder.
    another = volume.gateway()
    assert place(another) == "this is replica-2"
    (one,) = another.order("GET", "/admin/queue?status=unknown")[1]["items"]
    assert another.order("DELETE", f"/admin/queue/{one['id']}")[0] == 200
    house.eventually(lambda: stays.component("replicas")["status"] == "healthy", 20, "the end of it")
    assert len(server.arrivals("half")) == 1


def test_one_more_gateway_takes_the_folder_in_which_something_was_left(make, server):
    volume = Volume(make, server.port)
    stays, empty, dies = volume.gateway(), volume.gateway(), volume.gateway()
    away(server, stays, empty, dies)
    handle_in(dies.call("erp__work", {"n": "half", "seconds": 30})[0])
    server.start()
    house.eventually(lambda: server.arrivals("half"), 30, "the call at its server")
    dies.kill()
    assert empty.terminate() == 0
    house.eventually(lambda: stays.component("replicas")["status"] == "degraded", 40, "the news")
    another = volume.gateway()
    assert place(another) == "this is replica-3"
    assert len(another.order("GET", "/admin/queue?status=unknown")[1]["items"]) == 1


def test_what_a_gateway_without_replicas_has_left_has_words_of_its_own(make, server):
    volume = Volume(make, server.port)
    alone = volume.gateway_alone()
    away(server, alone)
    handle_in(alone.call("erp__work", {"n": "half", "seconds": 30})[0])
    server.start()
    house.eventually(lambda: server.arrivals("half"), 30, "the call at its server")
    alone.kill()
    one = volume.gateway()
    house.eventually(lambda: one.component("replicas")["status"] == "degraded", 40, "the news")
    assert "start one with storage.replicas = false" in place(one)
    assert one.terminate() == 0
    alone.start()
    assert len(alone.order("GET", "/admin/queue?status=unknown")[1]["items"]) == 1


def test_a_handle_that_cannot_be_looked_up_now_is_not_said_to_be_unknown(make, server):
    volume = Volume(make, server.port)
    first, second = volume.gateway(), volume.gateway()
    away(server, first, second)
    handle = handle_in(first.call("erp__work", {"n": "1"})[0])
    # Two seconds of asking for more than twenty a second.
    answers = [second.call("gateway__queue_status", {"handle": handle})[0] for _ in range(50)]
    known, later = ([one for one in answers if words in one] for words in (": queued.", "cannot be looked up now"))
    assert len(known) + len(later) == 50 and known and later, set(answers)
    unknown = {"handle": "call-" + "0" * 32}
    house.eventually(lambda: "no stored call" in second.call("gateway__queue_status", unknown)[0], 10, "the next second")


def test_the_doctor_and_the_drill_find_the_folder(make, server):
    volume = Volume(make, server.port)
    volume.gateway()
    one = volume.gateway()
    one.wait_for_tools("erp__work")
    one.call("erp__work", {"n": "1"})
    house.eventually(lambda: volume.rows("replica-2", "SELECT count(*) FROM request_log WHERE tool = 'erp__work'") == "1", 10, "the row")
    for words in (["--json"], ["offline", "--json"], ["drill", "erp", "--for", "1s", "--json"]):
        ran = one.verb("doctor", *words)
        assert "cannot be used" not in ran.stdout + ran.stderr, ran
        said = json.loads(ran.stdout)
    assert said["refused"] == 0


def test_the_key_is_refused_with_nothing_to_share(make):
    one = make.gateway(sections={"storage": {"replicas": "yes", "replicas_max": 0}}, start=False)
    one.write_configuration()
    ran = house.run("validate-config", one.configuration, code=78)
    assert "storage.replicas" in ran.stderr + ran.stdout and "storage.replicas_max" in ran.stderr + ran.stdout


def test_an_adopter_that_is_stopped_in_the_middle_leaves_nothing_for_a_person(make, server):
    """Calls that take a moment each are on their way when it gets its TERM: they end, and the others stay where they are."""
    volume = Volume(make, server.port)
    adopter, goes = volume.gateway(), volume.gateway()
    away(server, adopter, goes)
    for n in range(12):
        handle_in(goes.call("erp__work", {"n": str(n), "seconds": 0.3})[0])
    assert goes.terminate() == 0
    server.start()
    house.eventually(lambda: "sends" in place(adopter) and server.arrivals(), 60, "the adoption")
    assert adopter.terminate() == 0
    statuses = dict(row.split("|") for row in volume.rows(
        "replica-2", "SELECT status, count(*) FROM queue_items GROUP BY 1").splitlines())
    assert set(statuses) <= {"completed", "queued"} and int(statuses.get("queued", 0)) > 0, statuses
    last = volume.gateway()
    house.eventually(lambda: len(server.arrivals()) >= 12, 60, "the rest")
    house.eventually(lambda: place(last).startswith("this is") and "sends" not in place(last), 60, "the end")
    assert sorted(int(call["n"]) for call in server.arrivals()) == list(range(12)), "each once"


def test_restore_and_verify_want_a_folder_named(make, server):
    volume = Volume(make, server.port)
    one = volume.gateway()
    assert one.terminate() == 0
    backup = next((volume.place / "replica-1/backups").glob("queue-*.db"))
    stray = volume.place / "queue.db"
    for words in (["verify"], ["restore", str(one.configuration)]):
        assert "replica-N" in one.verb(*words, code=1).stderr, words
    one.verb("restore", str(backup))
    assert not stray.exists() and list((volume.place / "replica-1").glob("queue.db.*"))
