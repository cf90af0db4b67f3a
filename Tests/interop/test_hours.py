# Licensed under the Apache License 2.0; see LICENSE.
"""A quiet day and a bad hour, compressed to seconds: do greps, metrics, rows, health, doctor and alerts agree?

On the quiet day (hours_quiet.py) each of them has to be silent, in the bad hour (hours_bad.py) each has to tell the
same story. Both pass before a gateway that logs as text and before one that logs as JSON. These gateways live once; the
tests look at what they left.
"""

import collections
import concurrent.futures
import json
import re
import subprocess

import pytest

import hours_bad
from hours_bad import BadHour
from hours_quiet import Day

FORMS = ("text", "json")


def lived(make_hour):
    """The hours of both formats, which pass at the same time."""
    def one(form):
        hour = make_hour(form)
        hour.pass_by()
        return hour

    with concurrent.futures.ThreadPoolExecutor(len(FORMS)) as pool:
        return dict(zip(FORMS, pool.map(one, FORMS)))


@pytest.fixture(scope="module")
def days(make_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("day")
    return lived(lambda form: Day(make_once, form, folder))


@pytest.fixture(scope="module")
def hours(make_once):
    return lived(lambda form: BadHour(make_once, form))


@pytest.fixture(params=FORMS)
def day(request, days):
    return days[request.param]


@pytest.fixture(params=FORMS)
def hour(request, hours):
    return hours[request.param]


def is_event(line, form):
    return line.startswith("{") if form == "json" else re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z ", line)


def admin_calls(hour):
    """What operators did, by security.log; each was done."""
    calls = [facts for event, facts in hour.security_records() if event == "admin_call"]
    assert {facts["status"] for facts in calls} == {"200"}, calls
    return collections.Counter(facts["what"] for facts in calls)


# A quiet day.

@pytest.mark.parametrize("grep", ["errors", "times", "memory"])
def test_a_quiet_day_has_nothing_for_the_greps(day, grep):
    assert day.found_earlier[grep] == [] and day.found[grep] == [], grep


def test_a_quiet_days_log_is_not_empty_and_the_journal_has_all_of_it(day):
    lines = day.earlier + day.app
    assert all(is_event(line, day.form) for line in lines), lines
    assert [line for line in day.copy if is_event(line, day.form)] == lines
    messages = [message for message, _ in day.records(lines)]
    for words in ("serving", "upstream is there", "configuration read again", "gave back", "log files opened anew",
                  "stopping", "stopped"):
        assert any(message.startswith(words) for message in messages), words
    assert messages.count("configuration read again") == 3 and messages.count("stopped") == 1


def test_a_quiet_days_security_log_has_what_operators_did_and_no_more(day):
    assert all(line.startswith(("security ", "auth ")) for line in day.security), day.security
    assert day.found["security"] == day.security, "the playbook's grep finds each line"
    assert {event for event, _ in day.security_records()} == {"admin_call"}
    assert admin_calls(day) == day.orders


def test_a_quiet_day_has_no_failed_call(day):
    gateway = day.gateway
    assert gateway.sql("SELECT * FROM error_log") == "" and day.rows["errors"] == day.rows["queue"] == []
    statuses = set(gateway.sql("SELECT DISTINCT status FROM request_log").split())
    assert statuses == {"ok", "tool_error", "refused"}
    for life in (day.first_life, day.samples):
        assert day.sum(life, "mcp_tool_calls_total", outcome="failed") == 0
        for name in ("mcp_calls_shed_total", "mcp_rate_limited_total", "mcp_auth_failures_total",
                     "mcp_log_lines_dropped_total", "mcp_journal_rows_dropped_total", "mcp_queue_size",
                     "mcp_calls_in_flight", "mcp_calls_waiting", "mcp_listeners", "mcp_circuit_breaker_state"):
            assert day.sum(life, name) == 0, name
        assert day.sum(life, "http_requests_total", path="/mcp") > 200
        assert not [labels for labels, value in life["http_requests_total"] if labels["status"] >= "500" and value]
    mean, longest = map(float, day.rows["times"][0].split("|"))
    assert 0 < mean < longest < 2000


def test_a_quiet_days_rows_and_counters_count_the_same(day):
    rows = collections.Counter()
    calls = 0
    for method, status, count in (row.split("|") for row in day.first_rows):
        rows[method] += int(count)
        calls += int(count) if method == "tools/call" and status in ("ok", "tool_error") else 0
    counted = {labels["method"]: value for labels, value in day.first_life["mcp_requests_total"] if value}
    assert counted == rows
    assert calls > 400
    answered = {one: day.sum(day.first_life, "mcp_tool_calls_total", outcome=one) for one in ("ok", "tool_error")}
    # A client's mistake with a tool that there is counts as its tool's answer, and its row says who was wrong.
    refused = int(day.gateway.sql(
        "SELECT count(*) FROM request_log WHERE method = 'tools/call' AND status = 'refused' AND tool IS NOT NULL "
        f"AND id <= (SELECT max(id) FROM (SELECT id FROM request_log ORDER BY id LIMIT {day.rows_before}))"))
    assert answered["ok"] + answered["tool_error"] == calls + refused
    assert answered["tool_error"] >= 12


def test_a_quiet_day_is_healthy_and_wakes_nobody(day):
    assert (day.overall, day.sick) == ("healthy", [])
    assert all(labels["component"] and value == 0 for labels, value in day.samples["mcp_component_status"])
    assert day.alerts == set()
    assert all(found == [] for found in day.queries.values()), day.queries


def test_the_doctor_finds_nothing_on_a_quiet_day(day):
    assert {one["rank"] for one in day.findings} == {"well", "note"}
    for area in ("errors", "logs", "calls", "upstream", "configuration", "backup"):
        assert day.finding(area)["rank"] == "well", area
    assert not [one for one in day.findings if one["area"] == "security"]
    assert "3 times" in day.finding("changed", "configuration read again")["words"]
    looks = day.orders["status"] + day.orders["tokens.list"]
    assert f"{day.orders.total() - looks} orders" in day.finding("changed", "order")["words"]


# A bad hour.

MEMORY = re.compile("memory", re.I)
# By name: message, the tool, and words of the detail.
FAILURES = {
    "an upstream is dead": ("call failed", "gone__other", "connection refused"),
    "an upstream answers 500": ("call failed", "torn__other", "HTTP status 500"),
    "an upstream never answers": ("call failed", "hung__other", "timeout: no answer within 1"),
    "calls of a dead one are held back": ("call failed", "gone__other", "breaker is open"),
    "calls of a broken one are held back": ("call failed", "torn__other", "breaker is open"),
    "calls of one that hangs are held back": ("call failed", "hung__other", "breaker is open"),
    "a module asks for more memory": ("call failed", "text__echo", ""),
    # Again when a probe fails, which happens in some of these hours and not in others.
    "a breaker opens": ("breaker open: calls fail at once until the server answers again", None, ""),
}


def tells(record, story):
    (message, facts), (wanted, tool, words) = record, story
    return message == wanted and facts.get("tool") == tool and words in facts.get("detail", "")


def test_the_lines_of_a_bad_hour_are_whole_and_the_journal_has_them(hour):
    assert all(is_event(line, hour.form) for line in hour.app)
    assert [line for line in hour.copy if is_event(line, hour.form)] == hour.app
    assert len(hour.records(hour.app)) == len(hour.app)


@pytest.mark.parametrize("story", FAILURES)
def test_the_grep_for_errors_finds(hour, story):
    assert [one for one in hour.records(hour.found["errors"]) if tells(one, FAILURES[story])], hour.found["errors"]


def test_the_grep_for_errors_finds_the_refused_configuration(hour):
    messages = [message for message, _ in hour.records(hour.found["errors"])]
    assert messages.count("the configuration was refused, nothing was changed") == 1
    assert sum("servr: unknown key" in message for message in messages) == 1


def test_the_grep_for_errors_finds_that_calls_were_shed(hour):
    """They count as errors, so somebody who sees the error rate rise finds in the log why."""
    assert hour.shed > 10
    assert [line for line in hour.found["errors"] if "limits.max_in_flight" in line and "configuration" not in line]


def test_the_grep_for_errors_finds_the_stored_call_whose_answer_was_lost(hour):
    """It counts as a failed call, and a person has to decide about it."""
    assert [one for one in hour.records(hour.found["errors"]) if one[1].get("tool") == "gone__work"]


def test_the_grep_for_errors_finds_nothing_else(hour):
    for message, facts in hour.records(hour.found["errors"]):
        known = (any(tells((message, facts), story) for story in FAILURES.values())
                 or "configuration was refused" in message or "servr: unknown key" in message
                 or "limits.max_in_flight" in f"{message} {facts}" or facts.get("tool") == "gone__work")
        assert known, (message, facts)


def test_the_grep_for_slowness_finds_slow_calls_and_timeouts_and_nothing_else(hour):
    found = collections.Counter()
    for message, facts in hour.records(hour.found["times"]):
        if message == "slow call":
            assert float(facts["took"].split()[0]) > 2
        else:
            assert message == "call failed" and facts["detail"].startswith("timeout: no answer within 1"), facts
        found[message, facts["tool"]] += 1
    slow, late = ("slow call", "tardy__other"), ("call failed", "hung__other")
    assert set(found) == {slow, late}
    assert found[slow] == hour.fine["tardy__other"]
    assert str(found[late]) == hour.gateway.sql("SELECT count(*) FROM error_log WHERE error_type = 'call_timeout'")


def test_the_grep_for_memory_finds_each_way_to_hit_a_modules_limit_and_nothing_else(hour):
    stopped = [facts for message, facts in hour.records(hour.app)
               if message == "call failed" and facts["tool"] == "text__echo"]
    assert len(stopped) == len(hours_bad.TEXTS) == hour.failed["text__echo"]
    found = [facts for _, facts in hour.records(hour.found["memory"])]
    assert found == stopped, (found, stopped)
    assert all("512 KiB" in facts["detail"] for facts in found), found


def test_the_grep_for_intrusion_finds_wrong_tokens_strangers_and_orders_and_nothing_else(hour):
    assert hour.found["security"] == hour.security and all(
        line.startswith(("security ", "auth ")) for line in hour.security)
    records = hour.security_records()
    events = collections.Counter(event for event, _ in records)
    assert set(events) == {"auth_failure", "origin_refused", "host_refused", "admin_call"}
    assert events["origin_refused"] == events["host_refused"] == 1
    strangers = {event: facts for event, facts in records if event.endswith("_refused")}
    assert strangers["origin_refused"]["origin"] == "https://evil.example"
    assert strangers["host_refused"]["host"] == "evil.example"
    wrong = [facts for event, facts in records if event == "auth_failure"]
    assert {facts["detail"] for facts in wrong} == {"a token that is not good"}
    # Not each has a line, and those that have say how many have none.
    assert sum(1 + int(facts.get("omitted_before", 0)) for facts in wrong) == hour.wrong_tokens
    orders, looks = admin_calls(hour), ("status", "tokens.list")
    assert {what: count for what, count in orders.items() if what not in looks} == {
        what: count for what, count in hour.orders.items() if what not in looks}


def test_secrets_of_a_bad_hour_are_nowhere(hour):
    everything = "\n".join([*hour.app, *hour.security, *hour.copy])
    assert "mcpgw_wrong" not in everything and hour.client.token not in everything and "xxxx" not in everything


def test_clients_counters_and_rows_count_the_same_failures(hour):
    counted = {labels["tool"]: int(value) for labels, value in hour.samples["mcp_tool_calls_total"]
               if labels["outcome"] == "failed" and value}
    rows = dict(row.split("|") for row in hour.gateway.sql(
        "SELECT tool, count(*) FROM request_log WHERE status = 'failed' AND tool IS NOT NULL GROUP BY tool").split())
    number = lambda where: int(hour.gateway.sql(f"SELECT count(*) FROM request_log WHERE {where}"))
    assert counted == {tool: int(count) for tool, count in rows.items()}
    # The one that failed when nobody waited for it any more, and what callers were told.
    assert counted == {**hour.failed, "gone__work": 1}
    assert hour.number("mcp_calls_shed_total") == hour.shed
    assert number("status = 'failed' AND tool IS NULL") == hour.shed
    assert number("status = 'limited'") == hour.limited == hour.number("mcp_rate_limited_total")
    assert hour.number("mcp_rate_limited_total", scope="global") == hour.limited
    assert hour.number("mcp_auth_failures_total") == hour.wrong_tokens
    assert hour.rows["queue"] == ["queued|2", "unknown|1"]
    assert hour.number("mcp_queue_size") == 2 and hour.number("mcp_queue_items", status="unknown") == 1


def test_each_failed_call_has_its_row_in_the_error_log(hour):
    """By request id: the rows that failed, the rows that say why, and the lines."""
    ids = lambda query: collections.Counter(hour.gateway.sql(query).split())
    failed = ids("SELECT request_id FROM request_log WHERE status = 'failed'")
    told = ids("SELECT request_id FROM error_log WHERE request_id IS NOT NULL AND component <> 'daemon'")
    assert failed == told, (failed - told, told - failed)


def test_each_failed_call_of_a_tool_has_its_line(hour):
    failed = hour.gateway.sql(
        "SELECT request_id FROM request_log WHERE status = 'failed' AND tool IS NOT NULL ORDER BY 1").split()
    lines = sorted(facts["request_id"] for message, facts in hour.records(hour.app)
                   if facts.get("request_id") and message not in (
                       "slow call", "calls are stored until their server can be reached", hours_bad.TURNED_AWAY))
    assert lines == failed
    # Those that were turned away are many, and say how many more there were.
    assert not [facts for message, facts in hour.records(hour.app)
                if "omitted_before" in facts and message != hours_bad.TURNED_AWAY]


def test_the_playbooks_queries_of_the_database_tell_the_story(hour):
    kinds = {row.split("|")[1] for row in hour.rows["errors"]}
    assert len(hour.rows["errors"]) == 50 and {"upstream_unavailable", "bad_answer", "call_timeout"} <= kinds
    by_kind = dict(row.rsplit("|", 1) for row in hour.gateway.sql(
        "SELECT error_type || ' ' || component, count(*) FROM error_log GROUP BY 1").splitlines())
    assert by_kind["configuration_refused daemon"] == "1"
    assert by_kind["overloaded gateway"] == str(hour.shed)
    assert by_kind["tool_stopped wasm:text"] == str(len(hours_bad.TEXTS))
    for kind in ("bad_answer upstream:torn", "call_timeout upstream:hung", "upstream_unavailable upstream:gone"):
        assert int(by_kind[kind]) > 0
    assert float(hour.rows["times"][0].split("|")[1]) > 2000


def test_health_names_what_is_wrong(hour):
    sick = {one["name"]: one for one in hour.sick}
    assert hour.overall == "degraded"
    assert {name: one["status"] for name, one in sick.items()} == {
        "queue": "degraded", "configuration": "degraded", "upstream:gone": "unhealthy", "upstream:torn": "unhealthy",
        "upstream:hung": "unhealthy"}
    assert "connection refused" in sick["upstream:gone"]["detail"] and "refused" in sick["configuration"]["detail"]
    assert "1 call was sent without an answer" in sick["queue"]["detail"]
    for name in ("gone", "torn", "hung"):
        assert re.search("breaker (half-)?open", sick[f"upstream:{name}"]["detail"]), sick
    levels = {labels["component"]: value for labels, value in hour.samples["mcp_component_status"] if value}
    assert levels == {name: 2 if one["status"] == "unhealthy" else 1 for name, one in sick.items()}


def test_the_right_alerts_fire_and_no_others(hour):
    assert hour.alerts == hours_bad.SHED | hours_bad.STORM
    # What is over by then is told no more.
    assert "PlaybookErrorRate" not in hour.firing
    assert {"UpstreamAway", "UnknownCalls", "ConfigurationRefused"} <= hour.firing
    (labels, rate), = hour.queries["errors"]
    assert labels["status"] == "503" and rate > 0.05
    (labels, seconds), = hour.queries["times"]
    assert labels["path"] == "/mcp" and 2 < seconds <= 5
    assert hour.queries["memory"] == hour.queries["queue"] == []


NEXT = [
    ("configuration", "was refused", "attention", r"mcp-gateway validate-config --strict \S+/gateway.toml"),
    ("queue", "may or may not have been carried out", "attention", "mcp-gateway queue list --status unknown"),
    ("upstream", "^gone is unhealthy: .*connection refused.*2 stored calls", "attention",
     "mcp-gateway upstreams check gone"),
    ("upstream", "^torn is unhealthy", "attention", "mcp-gateway upstreams check torn"),
    ("upstream", "^hung is unhealthy", "attention", "mcp-gateway upstreams check hung"),
    ("calls", "of the last minute failed", None, "mcp-gateway top"),
    ("calls", "of a hundred calls take more than 2", "attention", r"grep 'slow call' \S+/app.log \| tail -20"),
    ("errors", "overloaded of gateway", "attention", "sqlite3 .*error_log.*"),
]


def test_the_doctor_ranks_what_it_finds_with_the_next_command(hour):
    ranks = [one["rank"] for one in hour.findings]
    assert ranks == sorted(ranks, key=["urgent", "attention", "note", "well"].index)
    for area, words, rank, command in NEXT:
        one = hour.finding(area, words)
        # A verb that reads the file is about the gateway of the file that the doctor was given.
        command += r" --config \S+/gateway.toml" if re.match(r"mcp-gateway (?!validate)", command) else ""
        assert one["rank"] == (rank or one["rank"]) != "note" and re.fullmatch(command, one["next"]), one
    assert f"{hour.shed} × overloaded" in hour.finding("errors")["words"]
    failed, calls = map(int, re.match(r"(\d+) of (\d+) calls", hour.finding("calls", "failed")["words"]).groups())
    assert hour.finding("calls", "failed")["rank"] == ("urgent" if failed * 2 > calls else "attention")
    wants_somebody = {one["area"] for one in hour.findings if one["rank"] in ("urgent", "attention")}
    # Whether strangers are among them is the next test's.
    assert wants_somebody - {"security"} == {"configuration", "queue", "upstream", "calls", "errors"}, hour.findings


def test_the_doctor_counts_wrong_tokens_and_not_their_lines(hour):
    """120 in a second are an attack, and are an alert of the second severity; only ten of them have a line."""
    one = hour.finding("security")
    assert f"{hour.wrong_tokens} × auth_failure" in one["words"] and one["rank"] == "attention", one


def test_what_the_doctor_proposes_to_grep_finds_something(hour):
    for area in ("logs", "security"):
        command = hour.finding(area)["next"]
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
        assert ran.returncode == 0 and ran.stdout, (command, ran)


def test_a_file_that_cannot_be_used_does_not_hide_the_gateway_that_runs(hour):
    found = hour.findings_beside_a_bad_file
    words = [one["words"] for one in found if one["area"] == "config" and one["rank"] == "urgent"]
    assert len(words) == 1 and "would be refused" in words[0] and "servr" in words[0], found
    assert not [one for one in found if "no gateway runs" in one["words"]], "one does"


def test_json_lines_and_text_lines_tell_the_same_stories(hours):
    """The same greps on both formats: the same kinds of lines, each JSON line an object."""
    kinds = {}
    for form, hour in hours.items():
        kinds[form] = {
            (grep, re.sub(r"\S+gateway\.toml:\d+", "FILE", message), facts.get("tool"))
            for grep in ("errors", "times", "memory") for message, facts in hour.records(hour.found[grep])}
    assert kinds["text"] == kinds["json"] and len(kinds["text"]) >= 8
    for line in hours["json"].app:
        one = json.loads(line)
        assert {"timestamp", "level", "component", "message"} <= set(one)
