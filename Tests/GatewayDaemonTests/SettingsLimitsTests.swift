// Licensed under the Apache License 2.0; see LICENSE.

import Gateway
import GatewayCore
import Resilience
import Testing

@testable import GatewayDaemon

/// How often, how many at a time, and what is done with calls that fail: keys, what they mean, and what they refuse.
@Suite struct SettingsLimitsTests {
    private static func settings(_ text: String) throws -> GatewaySettings {
        let outcome = SettingsFixture(text).load(strict: true)
        #expect(outcome.problems == [])
        return try #require(outcome.settings)
    }

    private static let upstream = "[upstreams.a]\nurl = \"http://a/\"\n"

    private static func policy(_ text: String) throws -> ToolPolicySettings {
        let edits = try settings(upstream + "[upstreams.a.tools.do]\n" + text).upstreams.first?.exposure.edits
        return try #require(edits?["do"]?.policy)
    }

    @Test func `without a word nothing is limited but what runs and waits`() throws {
        let settings = try Self.settings(Self.upstream)
        #expect(settings.limits.rate == nil && settings.limits.ratePerCaller == nil)
        #expect((settings.limits.inFlightMax, settings.limits.waitingMax) == (1_024, 256))
        #expect(settings.limits.waitMax == .seconds(2))
        let upstream = try #require(settings.upstreams.first)
        #expect((upstream.inFlightMax, upstream.waitingMax, upstream.attemptsMax) == (256, 256, 1))
        #expect(upstream.backoff == .milliseconds(100))
        #expect(settings.pipeline.rate == nil && settings.pipeline.ratePerCaller == nil)
    }

    static let rates: [(String, RateLimit)] = [
        ("requests_per_second = 10", RateLimit(perSecond: 10, burst: 10)),
        ("requests_per_second = 2.5", RateLimit(perSecond: 2.5, burst: 3)),
        ("requests_per_second = 0.001", RateLimit(perSecond: 0.001, burst: 1)),
        ("requests_per_second = 1000000", RateLimit(perSecond: 1_000_000, burst: 1_000_000)),
        ("requests_per_second = 0.5\nburst = 20", RateLimit(perSecond: 0.5, burst: 20)),
    ]

    @Test(arguments: rates)
    func `as many may come at once as in a second, where the file does not say`(
        _ text: String, _ limit: RateLimit
    ) throws {
        let all = try Self.settings("[limits]\n" + text)
        #expect(all.limits.rate == limit && all.limits.ratePerCaller == nil)
        #expect(all.pipeline.rate == limit)
        let each = try Self.settings("[limits.per_caller]\n" + text)
        #expect(each.limits.ratePerCaller == limit && each.limits.rate == nil)
        #expect(each.pipeline.ratePerCaller == limit)
    }

    static let toolRates: [(String, RateLimit?)] = [
        ("10/s", RateLimit(perSecond: 10, burst: 10)), ("30/m", RateLimit(perSecond: 0.5, burst: 1)),
        ("90/m", RateLimit(perSecond: 1.5, burst: 2)), ("7200/h", RateLimit(perSecond: 2, burst: 2)),
        ("4/h", RateLimit(perSecond: 4.0 / 3_600, burst: 1)),
        ("1000000/s", RateLimit(perSecond: 1e6, burst: 1_000_000)),
        ("3/h", nil), ("0/s", nil), ("10", nil), ("10/d", nil), ("10 /s", nil), ("/s", nil), ("-1/s", nil),
        ("1.5/s", nil), ("10/S", nil), ("1000001/s", nil), ("", nil), ("10/ms", nil), ("999999999/s", nil),
    ]

    @Test(arguments: toolRates)
    func `the rate of a tool is so many a second, a minute or an hour`(_ text: String, _ limit: RateLimit?) throws {
        #expect(SettingsUnits.rate(text) == limit)
        let source = Self.upstream + "[upstreams.a.tools.do]\nrate = \"\(text)\""
        guard let limit else {
            #expect(SettingsFixture(source).problems().count == 1)
            #expect(SettingsFixture(source).problems().first?.hasPrefix("4: upstreams.a.tools.do.rate: ") == true)
            return
        }
        #expect(try Self.policy("rate = \"\(text)\"").rate == limit)
        let module = "[tools.u]\nmodule = \"/srv/units.wasm\"\n[tools.u.tools.do]\nrate = \"\(text)\""
        #expect(try Self.settings(module).tools.first?.exposure.edits["do"]?.policy.rate == limit)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let text: String
        let problem: String

        init(_ name: String, _ text: String, _ problem: String) {
            (testDescription, self.text, self.problem) = (name, text, problem)
        }
    }

    private static let alone = "goes with requests_per_second, and that is not given; add it, or remove burst"
    private static let twice = """
        a tool that is called a second time while the first call may still run must be safe to call twice; \
        idempotent = true would say so, or remove hedge
        """

    static let mistakes: [Case] = [
        Case("A burst without a rate", "[limits]\nburst = 5", "2: limits.burst: \(alone)"),
        Case("The same for each caller", "[limits.per_caller]\nburst = 5", "2: limits.per_caller.burst: \(alone)"),
        Case(
            "The rate of the one is not that of the other", "[limits]\nrequests_per_second = 1\nper_caller.burst = 5",
            "3: limits.per_caller.burst: \(alone)"),
        Case(
            "A rate that is none", "[limits]\nrequests_per_second = 0",
            "2: limits.requests_per_second: 0.0 is out of bounds; 0.001 to 1000000.0 would be right"),
        Case(
            "A rate in quotes", "[limits]\nrequests_per_second = \"10/s\"",
            """
            2: limits.requests_per_second: this is a text; a number from 0.001 to 1000000.0, without quotes, such as \
            0.5, would be right
            """
        ),
        Case(
            "A tool's rate without quotes", upstream + "[upstreams.a.tools.do]\nrate = 10",
            """
            4: upstreams.a.tools.do.rate: this is a whole number; a rate in quotes, such as \"10/s\", \"30/m\" or \
            \"100/h\", would be right
            """
        ),
        Case(
            "A hedge on a tool that may not be called twice", upstream + "[upstreams.a.tools.do]\nhedge = \"1s\"",
            "4: upstreams.a.tools.do.hedge: \(twice)"),
        Case(
            "A hedge on a tool whose calls are stored",
            upstream + "[upstreams.a.tools.do]\noffline = \"queue\"\nhedge = \"1s\"",
            "5: upstreams.a.tools.do.hedge: \(twice)"),
        Case(
            "More tries than there may be", upstream + "retry = { attempts = 11 }",
            "3: upstreams.a.retry.attempts: 11 is out of bounds; 1 to 10 would be right"),
        Case(
            "A tool of a module is not hedged",
            "[tools.u]\nmodule = \"/srv/units.wasm\"\n[tools.u.tools.do]\nhedge = \"1s\"",
            "4: tools.u.tools.do.hedge: unknown key; it belongs in [upstreams.NAME.tools.NAME]"),
    ]

    @Test(arguments: mistakes)
    func `mistakes are told with their line and what would be right`(_ one: Case) {
        #expect(SettingsFixture(one.text).problems() == [one.problem])
    }

    @Test(arguments: ["idempotent = true", "cache = \"10m\"", "offline = \"stale\""])
    func `a tool that may be called twice may be hedged`(_ word: String) throws {
        #expect(try Self.policy("\(word)\nhedge = \"250ms\"").hedge == .milliseconds(250))
    }

    // MARK: Breakers

    @Test func `an upstream has a breaker by itself, a tool only where the file says so`() throws {
        let plain = try #require(try Self.settings(Self.upstream).upstreams.first)
        #expect(plain.breaker.callsMin == 10 && plain.breaker.failures == 0.5)
        #expect(try Self.policy("idempotent = true").breaker == nil)
        let breaker = try #require(try Self.policy("circuit_breaker = { minimum_calls = 3 }").breaker)
        #expect((breaker.callsMin, breaker.failures) == (3, 0.5))
        #expect((breaker.window, breaker.openFor) == (.seconds(30), .seconds(15)))
        #expect(breaker.slowCall == nil)
    }

    @Test func `the breaker of a tool is made of what stands at this tool alone`() throws {
        let settings = try Self.settings(
            Self.upstream + """
                circuit_breaker = { minimum_calls = 7, slow_call = "3s" }
                [upstreams.a.tools.one.circuit_breaker]
                failures = 0.9
                [upstreams.a.tools.two]
                max_in_flight = 4
                [upstreams.a.tools.one-more]
                title = "t"
                """)
        let upstream = try #require(settings.upstreams.first)
        #expect(upstream.breaker.callsMin == 7 && upstream.breaker.slowCall == .seconds(3))
        let policies = upstream.exposure.edits.mapValues(\.policy)
        #expect(policies["one"]?.breaker?.failures == 0.9)
        #expect(policies["one"]?.breaker?.callsMin == 10 && policies["one"]?.breaker?.slowCall == nil)
        #expect(policies["two"]?.breaker == nil && policies["two"]?.inFlightMax == 4)
        #expect(policies["one-more"] == ToolPolicySettings())
    }

    @Test func `a breaker gives up no probe before the upstream's own limit, and counts no call as slow by itself`()
        throws
    {
        let settings = try Self.settings(
            Self.upstream + "timeout = \"50s\"\n[upstreams.a.tools.do]\ncircuit_breaker = { open_for = \"1s\" }")
        let upstream = try #require(settings.upstreams.first)
        let room = upstream.exposure.room(patience: upstream.timeout)
        let own = try #require(upstream.traffic(waitMax: .seconds(2)).breaker)
        let tools = try #require(room.edits["do"]?.policy.breaker)
        for breaker in [own, tools] {
            #expect(breaker.probePatience == .seconds(50))
            #expect(breaker.slowCall == .seconds(50))
        }
        #expect(tools.openFor == .seconds(1))
    }
}
