-- Licensed under the Apache License 2.0; see LICENSE.
-- One fixed request per thread, read from a file; prints its findings as one line of JSON.
-- Usage: wrk ... -s request.lua URL -- BODY-FILE TOOL

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    file:close()
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Accept"] = "application/json, text/event-stream"
    wrk.headers["MCP-Protocol-Version"] = "2026-07-28"
    wrk.headers["Mcp-Method"] = "tools/call"
    wrk.headers["Mcp-Name"] = arguments[2]
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        '{"requests":%d,"microseconds":%d,"bytes":%d,"socket_errors":%d,"status_errors":%d,"p50":%d,"p99":%d}',
        summary.requests, summary.duration, summary.bytes, errors.connect + errors.read + errors.write + errors.timeout,
        errors.status, latency:percentile(50), latency:percentile(99)))
end
