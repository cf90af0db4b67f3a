// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import HTTPListener
import NIOCore
import Telemetry
import Testing

/// Answers with the body it was sent.
private struct EchoRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        exchange.answer(.ok, .json, request.body, headers: [("x-evil", "a\r\nb: c")])
    }
}

/// Answers when the gate opens.
private struct GatedRoute: HTTPRoute {
    let gate: Gate
    let entered: Gate

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        entered.open()
        await gate.pass()
        exchange.answer(.ok, .text, ByteBuffer(string: "late"))
    }
}

/// A stream of two events.
private struct StreamRoute: HTTPRoute {
    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        exchange.startEvents()
        exchange.sendKeepAlive()
        exchange.sendEvent(ByteBuffer(string: #"{"n":1}"#))
        exchange.sendEvent(ByteBuffer(string: #"{"n":2}"#))
        exchange.finishEvents()
        exchange.answer(.ok, .json, ByteBuffer(string: "a second answer is ignored"))
    }
}

/// A stream on which a person was asked something for a minute.
private struct AskingRoute: HTTPRoute {
    let time: ManualTime

    func respond(to request: HTTPRequest, _ exchange: HTTPExchange) async {
        exchange.startEvents()
        time.advance(by: .seconds(60))
        exchange.timeLeftOut = .seconds(60)
        exchange.finishEvents()
    }
}

/// What a connection takes, refuses and survives.
@Suite("Connections") struct ConnectionTests {
    private func withSite<T>(
        limits: HTTPLimits = HTTPLimits(bodyBytesMax: 10_000, connectionsMax: 100, receiveTimeout: .seconds(60)),
        time: ManualTime = ManualTime(runs: true), gate: Gate = Gate(), entered: Gate = Gate(),
        _ body: (TestSite) async throws -> T
    ) async throws -> T {
        try await TestSite.start(
            [
                ("/echo", EchoRoute(), false), ("/wait", GatedRoute(gate: gate, entered: entered), false),
                ("/stream", StreamRoute(), false), ("/ops", EchoRoute(), true),
            ], limits: limits, time: time
        ).use(body)
    }

    private func post(_ body: String, _ path: String = "/echo", _ headers: [(String, String)] = []) -> String {
        RequestText.http("POST", path, headers: headers, body: body)
    }

    @Test("An answer carries length, date and request id, and no header can smuggle in another")
    func answer() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                let answer = try await client.ask(post("hello"))
                #expect(answer.status == 200)
                #expect(answer.text == "hello")
                #expect(answer.header("content-length") == "5")
                #expect(answer.header("x-request-id")?.count == 32)
                #expect(answer.header("date")?.hasSuffix(" GMT") == true)
                #expect(answer.header("x-evil") == "ab: c")
                #expect(answer.header("b") == nil)
                let other = try await client.ask(post("again"))
                #expect(other.header("x-request-id") != answer.header("x-request-id"))
            }
        }
    }

    @Test("Requests sent all at once are answered one after the other, in order")
    func pipelining() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                try await client.send((0..<50).map { post("number \($0)") }.joined())
                for number in 0..<50 { #expect(try await client.answer().text == "number \(number)") }
            }
        }
    }

    @Test("A request may come byte by byte or in chunks")
    func pieces() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                for byte in post("hello").utf8 { try await client.send([byte]) }
                #expect(try await client.answer().text == "hello")
                let chunked =
                    "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                #expect(try await client.ask(chunked).text == "abcde")
            }
        }
    }

    @Test("A large answer comes whole", arguments: [16_384, 16_385, 300_000])
    func large(_ size: Int) async throws {
        let limits = HTTPLimits(bodyBytesMax: 1 << 20, connectionsMax: 10, receiveTimeout: .seconds(60))
        try await withSite(limits: limits) { site in
            try await site.client { client async throws in
                let body = String(repeating: "x", count: size)
                #expect(try await client.ask(post(body)).body.count == size)
                #expect(try await client.ask(post(body, "/echo", [("connection", "close")])).body.count == size)
            }
        }
    }

    @Test("A body over the limit is refused before it is read, and by what has really come")
    func largeBodies() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10001\r\n\r\n"
                let answer = try await client.ask(head)
                #expect(answer.status == 413)
                #expect(answer.refusal?.code == "body_too_large")
                #expect(answer.header("connection") == "close")
            }
            try await site.client { client async throws in
                let chunk = "1000\r\n" + String(repeating: "x", count: 4_096) + "\r\n"
                let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
                try await client.send(head + chunk + chunk + chunk)
                #expect(try await client.answer().status == 413)
            }
            try await site.client { client async throws in
                #expect(try await client.ask(post(String(repeating: "x", count: 10_000))).status == 200)
            }
        }
    }

    @Test(
        "What is not HTTP gets a readable refusal",
        arguments: [
            ("nonsense\r\n\r\n", 400), ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
            ("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n", 400),
            ("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("GET /echo HTTP/1.1\r\nhost: a\r\nx: \(String(repeating: "y", count: 200_000))\r\n\r\n", 431),
        ])
    func notHTTP(_ bytes: String, _ status: Int) async throws {
        try await withSite { site in
            try await site.client { client async throws in
                try await client.send(bytes)
                let answer = try await client.answer()
                #expect(answer.status == status)
                #expect(answer.refusal?.words.isEmpty == false)
                try await wait(for: "the end") { client.isClosed }
            }
            try await site.client { client async throws in #expect(try await client.ask(post("next")).text == "next") }
        }
    }

    @Test("A request with two Host headers is refused, as is a path of elsewhere")
    func hosts() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                let two = "GET /echo HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n"
                #expect(try await client.ask(two).refusal?.code == "bad_http")
                let absolute = "GET http://localhost/echo?x HTTP/1.1\r\nhost: localhost\r\n\r\n"
                #expect(try await client.ask(absolute).status == 200)
                #expect(try await client.ask(RequestText.http("GET", "/echo/..")).status == 404)
            }
        }
    }

    @Test("HEAD has the head of GET and no body")
    func head() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                let answer = try await client.ask(RequestText.http("HEAD", "/nowhere"), toHead: true)
                #expect(answer.status == 404)
                #expect(answer.header("content-length") != "0")
                #expect(try await client.ask(post("after")).text == "after")
            }
        }
    }

    @Test("A client that asks whether to go on is told to")
    func expectContinue() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                try await client.send(
                    "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
                #expect(try await client.answer().status == 100)
                try await client.send("ok")
                #expect(try await client.answer().text == "ok")
            }
        }
    }

    @Test(
        "A connection ends when its client wants that",
        arguments: [
            "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
            "POST /echo HTTP/1.0\r\ncontent-length: 1\r\n\r\nx",
        ])
    func closing(_ request: String) async throws {
        try await withSite { site in
            try await site.client { client async throws in
                #expect(try await client.ask(request).text == "x")
                try await wait(for: "the end") { client.isClosed }
            }
        }
    }

    @Test("A slow request is refused when its time is over, a silent connection is closed")
    func patience() async throws {
        let time = ManualTime(runs: true)
        let limits = HTTPLimits(
            bodyBytesMax: 100, connectionsMax: 100, receiveTimeout: .seconds(60), idleTimeout: .seconds(600))
        try await withSite(limits: limits, time: time) { site in
            let slow = try await ScriptedClient.connect(port: site.port)
            let silent = try await ScriptedClient.connect(port: site.port)
            let idle = try await ScriptedClient.connect(port: site.port)
            #expect(try await idle.ask(post("x")).status == 200)
            try await slow.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\npart")
            // The head has been read when a later connection has been served on every loop there may be.
            for _ in 0..<20 {
                try await site.client { client async throws in #expect(try await client.ask(post("y")).status == 200) }
            }
            time.advance(by: .seconds(61))
            for late in [slow, silent] {
                let answer = try await late.answer()
                #expect(answer.status == 408)
                #expect(answer.refusal?.code == "request_too_slow")
            }
            #expect(!idle.isClosed)
            time.advance(by: .seconds(600))
            try await wait(for: "the end of the idle connection") { idle.isClosed }
            await slow.leave()
            await silent.leave()
        }
    }

    @Test("Beyond the limit of connections only operators are served")
    func connections() async throws {
        let limits = HTTPLimits(bodyBytesMax: 100, connectionsMax: 2, receiveTimeout: .seconds(60))
        try await withSite(limits: limits) { site in
            var held: [ScriptedClient] = []
            for _ in 0..<2 {
                let client = try await ScriptedClient.connect(port: site.port)
                #expect(try await client.ask(post("x")).status == 200)
                held.append(client)
            }
            try await site.client { client async throws in
                let refused = try await client.ask(post("x"))
                #expect(refused.status == 503)
                #expect(refused.header("retry-after") == "1")
                try await wait(for: "the end") { client.isClosed }
            }
            try await site.client { client async throws in
                #expect(try await client.ask(post("x", "/ops")).status == 200)
                // Places for operators are not to be sat on.
                try await wait(for: "the end") { client.isClosed }
            }
            await held[0].leave()
            try await wait(for: "a free place") {
                try await site.client { try await $0.ask(post("x")).status == 200 }
            }
            await held[1].leave()
        }
    }

    @Test("Events are chunks, and the connection goes on after them")
    func events() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                let answer = try await client.ask(post("", "/stream"))
                #expect(answer.isStream)
                #expect(answer.header("cache-control")?.contains("no-cache") == true)
                let expected =
                    ":\r\n\r\nevent: message\r\ndata: {\"n\":1}\r\n\r\nevent: message\r\ndata: {\"n\":2}\r\n\r\n"
                #expect(answer.text == expected)
                #expect(try await client.ask(post("after")).text == "after")
            }
            try await site.client { client async throws in
                let old = try await client.ask("POST /stream HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
                #expect(old.header("transfer-encoding") == nil)
                #expect(old.message == Array(#"{"n":2}"#.utf8))
            }
        }
    }

    @Test("Stopping lets a running answer finish and takes nothing new")
    func stopping() async throws {
        let gate = Gate()
        let entered = Gate()
        try await withSite(gate: gate, entered: entered) { site in
            let idle = try await ScriptedClient.connect(port: site.port)
            #expect(try await idle.ask(post("x")).status == 200)
            let busy = try await ScriptedClient.connect(port: site.port)
            try await busy.send(post("", "/wait"))
            await entered.pass()
            async let stopped: Void = site.listener.stop(grace: .seconds(20))
            // Whoever looks after the gateway can still ask it, and everybody else is told.
            try await wait(for: "a refusal") {
                try await site.client { client async throws in
                    let answer = try await client.ask(post("x"))
                    return answer.status == 503 && answer.refusal?.code == "draining"
                }
            }
            #expect(try await idle.ask(post("ops", "/ops")).text == "ops")
            #expect(!busy.isClosed)
            gate.open()
            let answer = try await busy.answer()
            #expect(answer.text == "late")
            #expect(answer.header("connection") == "close")
            await stopped
            try await wait(for: "the end of every connection") { idle.isClosed && busy.isClosed }
            await #expect(throws: (any Error).self) { try await ScriptedClient.connect(port: site.port) }
        }
    }

    @Test("The time of a request leaves out what a person took to answer")
    func asking() async throws {
        let time = ManualTime(runs: true)
        try await TestSite.start([("/ask", AskingRoute(time: time), false)], time: time).use { site in
            try await site.client { client in
                let answer = try await client.ask(post("", "/ask"))
                #expect(answer.isStream)
            }
            let text = site.metricsText
            #expect(text.contains(#"http_request_duration_seconds_bucket{path="/ask",le="30"} 1"#))
            #expect(text.contains(#"http_request_duration_seconds_count{path="/ask"} 1"#))
        }
    }

    @Test("Failures of clients' routes stand at 0 before the first, so that a burst of them is an increase")
    func failuresAtZero() async throws {
        try await withSite { site in
            for status in [500, 503] {
                #expect(
                    site.metricsText.contains(#"http_requests_total{method="POST",path="/echo",status="\#(status)"} 0"#)
                )
            }
            #expect(!site.metricsText.contains(#"path="/ops""#))
        }
    }

    @Test("What finds no free connection is counted as shed, and one line says so and what to do")
    func shed() async throws {
        let said = Collected<String>()
        let (time, metrics) = (ManualTime(), MetricsRegistry())
        var router = Router()
        router.add("/echo", EchoRoute())
        let listener = try await HTTPListener.start(
            .tcp(host: "127.0.0.1", port: 0), router: router,
            limits: HTTPLimits(bodyBytesMax: 100, connectionsMax: 1, receiveTimeout: .seconds(60)), guardian: nil,
            group: TestLoop.group, time: time, metrics: metrics
        ) { words, facts in said.add(words + facts.map { " \($0)=\($1)" }.joined()) }
        let port = try #require(listener.port)
        let held = try await ScriptedClient.connect(port: port)
        #expect(try await held.ask(post("x")).status == 200)
        func refused() async throws {
            try await ScriptedClient.with(port: port) { client async throws in
                #expect(try await client.ask(post("x")).status == 503)
            }
        }
        for _ in 0..<3 { try await refused() }
        time.advance(by: .seconds(10))
        try await refused()
        let words = "all 1 connections are in use and requests fail: raise server.max_connections"
        #expect(said.count == 2 && said.all.allSatisfy { $0.hasPrefix(words) })
        #expect(said.all.last?.hasSuffix(" omitted_before=2") == true)
        #expect(String(decoding: metrics.render(), as: UTF8.self).contains("mcp_calls_shed_total 4\n"))
        await held.leave()
        await listener.stop(grace: .zero)
    }

    @Test("Requests are counted by method, path and status, never by what a client made up")
    func metrics() async throws {
        try await withSite { site in
            try await site.client { client async throws in
                _ = try await client.ask(post("x"))
                _ = try await client.ask(RequestText.http("GET", "/made-up-by-a-client"))
                _ = try await client.ask("BREW /echo HTTP/1.1\r\nhost: a\r\n\r\n")
            }
            let text = site.metricsText
            #expect(text.contains(#"http_requests_total{method="POST",path="/echo",status="200"} 1"#))
            #expect(text.contains(#"path="other",status="404""#))
            #expect(!text.contains("made-up"))
            #expect(!text.contains("BREW"))
        }
    }
}
