// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Telemetry
import Testing

/// Cache, database and upstreams, by the admin routes.
@Suite("Admin routes of the storage") struct StorageRoutesTests {
    private func filled() -> AdminSite {
        let site = AdminSite()
        for (number, tool) in ["erp__price", "erp__price", "shop__list"].enumerated() {
            site.store.keep(
                [UInt8(number)], tool: tool, KeptReply(result: Array(repeating: 0x20, count: 100), keptAt: 0))
        }
        return site
    }

    @Test("The cache is cleared for one tool or all, with or without a body, whatever its type")
    func cache() async throws {
        let site = filled()
        try await site.use { client async throws in
            let one = try await client.order(
                "POST", "/admin/cache/clear", #"{"tool":"erp__price"}"#,
                headers: [("content-type", "application/x-www-form-urlencoded")])
            #expect(one.status == 200)
            #expect(one.json?["removed"]?.text == #"{"entries":2,"bytes":200}"#)
            #expect(one.json?["cache"]?.text == #"{"entries":1,"bytes":100}"#)
            #expect(one.sentence == "2 cached answers of erp__price removed, 200 bytes; 1 left")
            let all = try await client.order("POST", "/admin/cache/clear")
            #expect(all.json?["removed"]?["entries"]?.intValue == 1)
            let again = try await client.order("POST", "/admin/cache/clear", "{}")
            #expect(again.status == 200)
            #expect(again.json?["removed"]?["entries"]?.intValue == 0)
        }
        #expect(site.store.size().entries == 0)
        let line = try #require(site.log.lines.first)
        #expect(line.event == "admin_call")
        #expect(line.kind == .security)
        #expect(line.fact("what") == "cache.clear")
        #expect(line.fact("who")?.hasPrefix("uid 0 port ") == true)
        #expect(line.fact("status") == "200")
        #expect(site.log.lines.count == 3)
    }

    @Test("A rebuild says what it did and what it could not")
    func rebuild() async throws {
        let site = AdminSite()
        site.care.find(["index a was not rebuilt: disk full"])
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/rebuild-indices")
            #expect(answer.status == 200)
            #expect(answer.json?["indices"]?.intValue == 7)
            #expect(answer.json?["problems"]?.text == #"["index a was not rebuilt: disk full"]"#)
            #expect(answer.sentence?.hasPrefix("7 indices rebuilt; ") == true)
        }
    }

    @Test("A backup goes where it is told, or to the day's place")
    func backup() async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let named = try await client.order("POST", "/admin/backup", #"{"to":"/srv/copy.db"}"#)
            #expect(named.json?["path"]?.stringValue == "/srv/copy.db")
            #expect(named.json?["bytes"]?.intValue == 4_096)
            #expect(try await client.order("POST", "/admin/backup").status == 200)
        }
        #expect(site.care.orders == ["backup /srv/copy.db", "backup of the day"])
    }

    static let troubles: [(StorageCareError, Int, String)] = [
        (.closing, 503, "stopping"), (.damaged(detail: "page 3"), 500, "database_damaged"),
        (.impossible(detail: "no backup was made: the disk is full"), 409, "not_possible"),
    ]

    @Test("A backup that is not made is not called one", arguments: troubles)
    func failedBackup(_ error: StorageCareError, _ status: Int, _ code: String) async throws {
        let site = AdminSite()
        site.care.fail(error)
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/backup")
            #expect(answer.status == status)
            #expect(answer.refusal?.code == code)
            #expect(answer.refusal?.words == error.text)
        }
        #expect(site.log.lines.first?.fact("status") == String(status))
        #expect(site.log.lines.first?.fact("detail") == error.text)
    }

    @Test("A look at the database tells a sound one from another")
    func verify() async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let sound = try await client.order("POST", "/admin/verify")
            #expect(sound.json?["sound"]?.boolValue == true)
            #expect(sound.json?["rows"]?.text == #"{"error_log":0,"queue_items":3}"#)
            site.care.find(["page 4 is never used", "another"])
            let other = try await client.order("POST", "/admin/verify", #"{"file":"/srv/copy.db"}"#)
            #expect(other.status == 200)
            #expect(other.json?["sound"]?.boolValue == false)
            #expect(other.sentence == "/srv/copy.db is not sound: 2 problems; page 4 is never used")
        }
        #expect(site.care.orders == ["verify the database", "verify /srv/copy.db"])
    }

    @Test("A forced sync says what happened at each upstream and what still waits")
    func sync() async throws {
        let site = AdminSite()
        try await site.store()
        try await site.use { client async throws in
            let answer = try await client.order("POST", "/admin/sync/force")
            #expect(answer.json?["upstreams"]?["erp"]?.stringValue == "listed, 3 tools")
            #expect(answer.json?["waiting"]?.intValue == 1)
        }
    }

    static let mistakes: [(String, String, String)] = [
        ("/admin/cache/clear", "tool=erp__price", "not JSON"), ("/admin/cache/clear", "[]", "a list"),
        ("/admin/cache/clear", #"{"tools":"x"}"#, "tools"), ("/admin/cache/clear", #"{"tool":7}"#, "a number"),
        ("/admin/cache/clear", #"{"tool":""}"#, "an empty text"),
        ("/admin/cache/clear", #"{"tool":"a","tool":"b"}"#, ""), ("/admin/cache/clear?all=1", "", "all"),
        ("/admin/cache/clear", #"{"tool":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}"#, "not JSON"),
        ("/admin/backup", #"{"to":"copy.db"}"#, "absolute path"),
        ("/admin/backup", #"{"to":"/srv/"}"#, "absolute path"),
        ("/admin/backup", #"{"to":"/srv/a\u0000b"}"#, "absolute path"), ("/admin/backup", #"{"to":["/a"]}"#, "a list"),
        ("/admin/verify", #"{"path":"/a"}"#, "file"), ("/admin/rebuild-indices", #"{"index":"a"}"#, "index"),
        ("/admin/sync/force", #"{"upstream":"erp"}"#, "upstream"), ("/admin/sync/force", "\u{0}", "not JSON"),
    ]

    @Test("What cannot be read is refused in words, and nothing is done", arguments: mistakes)
    func mistake(_ path: String, _ body: String, _ word: String) async throws {
        let site = filled()
        try await site.use { client async throws in
            let answer = try await client.order("POST", path, body)
            #expect(answer.status == 400)
            #expect(answer.refusal?.code == "bad_request")
            #expect(answer.refusal?.words.contains(word) == true, "\(answer.text)")
        }
        #expect(site.store.size().entries == 3)
        #expect(site.care.orders == [])
        #expect(site.log.lines.map { $0.fact("status") } == ["400"])
    }

    @Test("A body that is far too large is refused as such")
    func largeBody() async throws {
        let site = filled()
        try await site.use { client async throws in
            let body = #"{"tool":"\#(String(repeating: "x", count: 70_000))"}"#
            #expect(try await client.order("POST", "/admin/cache/clear", body).status == 413)
        }
        #expect(site.store.size().entries == 3)
    }

    @Test(
        "Another verb is told which one is right",
        arguments: [
            ("GET", "/admin/cache/clear", "POST"), ("DELETE", "/admin/backup", "POST"),
            ("POST", "/admin/queue", "GET, HEAD"), ("GET", "/admin/queue/purge", "POST"),
            ("GET", "/admin/queue/7/retry", "POST"), ("PUT", "/admin/queue/7", "GET, HEAD, DELETE"),
        ])
    func verb(_ verb: String, _ path: String, _ allowed: String) async throws {
        let site = AdminSite()
        try await site.use { client async throws in
            let answer = try await client.order(verb, path)
            #expect(answer.status == 405)
            #expect(answer.header("allow") == allowed)
        }
        #expect(site.log.lines.first?.fact("what") == "\(verb) \(path)")
        #expect(site.log.lines.first?.fact("status") == "405")
    }
}
