// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// Breakers, limits, tools and draining, by the admin routes.
@Suite("Admin routes of traffic") struct TrafficRoutesTests {
    struct Order: Sendable, CustomTestStringConvertible {
        let verb: String
        let path: String
        let body: String
        /// What traffic is told; nil when it is told nothing.
        let told: String?
        /// What the sentence for people begins with.
        let words: String
        var testDescription: String { "\(verb) \(path) \(body)" }

        init(_ verb: String, _ path: String, _ body: String = "", told: String?, _ words: String) {
            (self.verb, self.path, self.body, self.told, self.words) = (verb, path, body, told, words)
        }
    }

    private static let breaker = "/admin/circuit-breaker"

    static let orders: [Order] = [
        Order("GET", breaker, told: nil, "1 breaker, 1 of them not closed"),
        Order("POST", breaker + "/enable", told: "arm all", "all breakers are armed; opened by this: erp"),
        Order("POST", breaker + "/enable", "{}", told: "arm all", "all breakers are armed"),
        Order("POST", breaker + "/enable", #"{"upstream":"erp"}"#, told: "arm erp", "the breaker of erp is armed"),
        Order(
            "POST", breaker + "/enable", #"{"upstream":null,"force":false}"#, told: "arm all",
            "all breakers are armed"),
        Order(
            "POST", breaker + "/enable", #"{"upstream":"erp","force":true}"#, told: "arm erp by force",
            "the breaker of erp is held open until somebody undoes it; opened by this: erp"),
        Order(
            "POST", breaker + "/enable", #"{"force":true,"for":"30m"}"#, told: "arm all by force for 1800 s",
            "all breakers are held open for 1800 s"),
        Order("POST", breaker + "/disable", told: "disarm all", "all breakers are closed and will not open"),
        Order(
            "POST", breaker + "/disable", #"{"upstream":"erp","for":"2h"}"#, told: "disarm erp for 7200 s",
            "the breaker of erp is closed and will not open"),
        Order("GET", "/admin/rate-limit", told: nil, "no limit of all callers together, as the file says"),
        Order(
            "POST", "/admin/rate-limit", #"{"requests_per_second":10,"burst":20}"#, told: "limit 10/s, burst 20",
            "at most 10/s, burst 20, of all callers together, by order"),
        Order(
            "POST", "/admin/rate-limit", #"{"requests_per_second":2.5,"for":"45s"}"#,
            told: "limit 2.5/s, burst 3 for 45 s",
            "at most 2.5/s, burst 3, of all callers together, by order, for 45 s"),
        Order(
            "POST", "/admin/rate-limit", #"{"requests_per_second":1e3}"#, told: "limit 1000/s, burst 1000",
            "at most 1000/s"),
        Order(
            "DELETE", "/admin/rate-limit", told: "undo rate-limit",
            "no limit of all callers together, as the file says"),
        Order("GET", "/admin/tools", told: nil, "1 tool"),
        Order(
            "POST", "/admin/tools/erp__order/disable", told: "disable erp__order",
            "erp__order is taken out: it is not listed, and calls of it are refused"),
        Order(
            "POST", "/admin/tools/erp__order/disable", #"{"for":"1d"}"#, told: "disable erp__order for 86400 s",
            "erp__order is taken out"),
        Order("POST", "/admin/tools/erp__order/enable", told: "enable erp__order", "erp__order is in service"),
        Order("POST", "/admin/tools/erp%5F%5Forder/enable", told: "enable erp__order", "erp__order is in service"),
        Order("GET", "/admin/drain", told: nil, "new calls are taken"),
        Order("POST", "/admin/drain", told: "drain true", "draining: 3 calls still run, new ones are refused"),
        Order("POST", "/admin/drain", #"{"for":"10m"}"#, told: "drain true for 600 s", "draining: 3 calls still run"),
        Order("DELETE", "/admin/drain", told: "drain false", "new calls are taken"),
        Order("GET", "/admin/overrides", told: nil, "nothing is changed by hand"),
        Order("DELETE", "/admin/overrides", told: "undo all", "there was nothing to undo"),
    ]

    @Test(
        "An order is carried out once, is answered with what is in force, and is a line in security.log",
        arguments: orders)
    func carriedOut(_ order: Order) async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            // Whatever the Content-Type says: `curl -d` calls it a form.
            let answer = try await client.order(
                order.verb, order.path, order.body, headers: [("content-type", "application/x-www-form-urlencoded")])
            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer.sentence?.hasPrefix(order.words) == true, "\(answer.text)")
        }
        #expect(site.traffic.orders == (order.told.map { [$0] } ?? []))
        #expect(site.log.lines.count == 1)
        #expect(site.log.lines.first?.event == "admin_call")
        #expect(site.log.lines.first?.fact("who")?.hasPrefix("uid 0 port ") == true)
        #expect(site.log.lines.first?.fact("status") == "200")
        #expect(site.log.lines.first?.fact("detail")?.hasPrefix(order.words) == true)
    }

    static let mistakes: [(String, String, String, Int, String)] = [
        ("POST", breaker + "/enable", #"{"upstream":"none"}"#, 404, "no upstream of this name"),
        ("POST", breaker + "/disable", #"{"upstream":"none"}"#, 404, "no upstream of this name"),
        ("POST", breaker + "/enable", #"{"for":"30m"}"#, 400, "goes with"),
        ("POST", breaker + "/enable", #"{"force":"yes"}"#, 400, "true or false would be right"),
        ("POST", breaker + "/enable", #"{"upstream":""}"#, 400, "a text would be right"),
        ("POST", breaker + "/enable", #"{"upstreams":"erp"}"#, 400, "known here: upstream, force, for"),
        ("POST", breaker + "/disable", #"{"force":true}"#, 400, "known here: upstream, for"),
        ("POST", breaker + "/disable", #"{"for":"0s"}"#, 400, "no time at all"),
        ("POST", breaker + "/disable", #"{"for":"soon"}"#, 400, "30m"),
        ("POST", "/admin/rate-limit", "", 400, "requests_per_second"),
        ("POST", "/admin/rate-limit", #"{"burst":5}"#, 400, "requests_per_second"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":0}"#, 400, "0.001 to 1000000"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":-1}"#, 400, "0.001 to 1000000"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":"10"}"#, 400, "0.001 to 1000000"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":1e7}"#, 400, "0.001 to 1000000"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":1,"burst":0}"#, 400, "1 to 1000000"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":1,"burst":1.5}"#, 400, "whole number"),
        ("POST", "/admin/rate-limit", #"{"requests_per_second":1,"requests_per_second":2}"#, 400, "twice"),
        ("POST", "/admin/rate-limit", "requests_per_second=10", 400, "not JSON"),
        ("POST", "/admin/rate-limit", "[10]", 400, "a list; send a JSON object"),
        ("POST", "/admin/tools/none/disable", "", 404, "no such tool"),
        ("POST", "/admin/tools/none/enable", "", 404, "no such tool"),
        ("POST", "/admin/tools/erp__order/enable", #"{"for":"1h"}"#, 400, "nothing is to be said here"),
        ("POST", "/admin/drain", #"{"force":true}"#, 400, "known here: for"),
        ("DELETE", "/admin/overrides?what=everything", "", 400, "rate-limit, circuit-breaker, tool, drain"),
        ("DELETE", "/admin/overrides?kind=tool", "", 400, "known here: what, subject"),
        ("DELETE", "/admin/rate-limit", #"{"for":"1h"}"#, 400, "nothing is to be said here"),
        ("GET", "/admin/drain?for=1h", "", 400, "none is known here"),
    ]

    @Test(
        "What cannot be meant is refused in words, nothing is done, and it is written down all the same",
        arguments: mistakes)
    func mistake(_ verb: String, _ path: String, _ body: String, _ status: Int, _ word: String) async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let answer = try await client.order(verb, path, body)
            #expect(answer.status == status)
            #expect(answer.refusal?.words.contains(word) == true, "\(answer.text)")
        }
        #expect(site.traffic.orders == [])
        #expect(site.log.lines.map { $0.fact("status") } == ["\(status)"])
    }

    @Test("What cannot be done now is a conflict, in words")
    func conflict() async throws {
        let site = AdminSite()
        site.traffic.refuses()
        try await site.use { client async throws in
            for path in ["enable", "disable"] {
                let answer = try await client.order("POST", "/admin/circuit-breaker/\(path)")
                #expect(answer.status == 409)
                #expect(answer.refusal?.code == "not_possible")
                #expect(answer.refusal?.words == "There are too many.")
            }
        }
    }

    @Test("An order that could not be written down says that a restart forgets it")
    func notKept() async throws {
        let site = AdminSite()
        site.traffic.forgets()
        let words = "; it could not be written to the database, so that a restart forgets it"
        try await site.use { client async throws in
            for (path, body) in [
                ("/admin/circuit-breaker/enable", #"{"force":true}"#), ("/admin/circuit-breaker/disable", ""),
                ("/admin/rate-limit", #"{"requests_per_second":1}"#), ("/admin/tools/erp__order/disable", ""),
            ] {
                let answer = try await client.order("POST", path, body)
                #expect(answer.status == 200)
                #expect(answer.sentence?.hasSuffix(words) == true, "\(answer.text)")
            }
        }
    }

    @Test("Overrides can be undone one by one, by kind, by what they are about, or all together")
    func undo() async throws {
        for (query, told) in [
            ("", ["undo all"]), ("?what=rate-limit", ["undo rate-limit"]),
            ("?what=rate-limit&subject=", ["undo rate-limit"]), ("?what=tool", []),
            ("?what=rate-limit&subject=erp", []), ("?subject=erp", []),
        ] as [(String, [String])] {
            let site = AdminSite()
            try await site.use { client async throws in
                _ = try await client.order("POST", "/admin/rate-limit", #"{"requests_per_second":10,"burst":20}"#)
                let answer = try await client.order("DELETE", "/admin/overrides" + query)
                let isUndone = !told.isEmpty
                #expect(
                    answer.sentence == (isUndone ? "undone: rate-limit: 10/s, burst 20" : "there was nothing to undo"))
                #expect(answer.json?["overrides"]?.arrayValue?.count == (isUndone ? 0 : 1))
            }
            #expect(site.traffic.orders.dropFirst() == told[...], "\(query)")
        }
    }

    @Test("Facts are for machines: every breaker, limit, tool and override with what is known of it")
    func facts() async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let breakers = try await client.order("GET", "/admin/circuit-breaker").json?["breakers"]
            #expect(
                breakers?.text == #"""
                    [{"upstream":"erp","tool":null,"state":"open","armed":true,"forced":false,"calls":4,"failures":3,\#
                    "slow":1,"next_probe_seconds":2.5}]
                    """#)
            let limit = try await client.order("POST", "/admin/rate-limit", #"{"requests_per_second":10,"burst":20}"#)
            #expect(limit.json?["requests_per_second"]?.text == "10")
            #expect(limit.json?["file"]?.text == #"{"requests_per_second":100,"burst":200}"#)
            #expect(limit.json?["override"]?["by"]?.stringValue?.hasPrefix("uid 0 port ") == true)
            #expect(limit.json?["override"]?["subject"] == .null)
            let tools = try await client.order("GET", "/admin/tools").json?["tools"]
            #expect(
                tools?.text == #"""
                    [{"name":"erp__order","owner":"erp","route":"upstream","title":"Order","enabled":true,\#
                    "offline":"queue","idempotent":false}]
                    """#)
            #expect(try await client.order("GET", "/admin/overrides").json?["overrides"]?.arrayValue?.count == 1)
        }
    }
}
