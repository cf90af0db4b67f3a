// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import MCPWire
import Testing

/// Stored calls, by the admin routes.
@Suite("Admin routes of the queue") struct QueueRoutesTests {
    private func ids(_ answer: RecordedAnswer) -> [Int] {
        answer.json?["items"]?.arrayValue?.compactMap { $0["id"]?.intValue } ?? []
    }

    @Test("The list is newest first, page by page, by status and upstream")
    func list() async throws {
        let site = AdminSite()
        for number in 1...5 { try await site.store(upstream: number == 2 ? "shop" : "erp") }
        _ = await site.store.settle(4, .failed(words: "refused"), now: site.time.wallMilliseconds())
        site.time.advance(by: .seconds(200))
        try await site.use { client async throws in
            let all = try await client.order("GET", "/admin/queue?status=&upstream=")
            #expect(ids(all) == [5, 4, 3, 2, 1])
            #expect(all.json?["next_before"] == .null)
            #expect(all.json?["notes"]?.arrayValue?.count == 0)
            let counts = all.json?["counts"]
            #expect(counts?["items"]?["queued"]?.intValue == 4)
            #expect(counts?["items"]?["failed"]?.intValue == 1)
            #expect(counts?["items"]?["unknown"]?.intValue == 0)
            #expect(counts?["oldest_age_seconds"]?.intValue == 200)
            let first = try await client.order("GET", "/admin/queue?limit=2")
            #expect(ids(first) == [5, 4])
            #expect(first.json?["next_before"]?.intValue == 4)
            #expect(ids(try await client.order("GET", "/admin/queue?limit=2&before=4")) == [3, 2])
            #expect(ids(try await client.order("GET", "/admin/queue?status=failed%2Cunknown")) == [4])
            #expect(ids(try await client.order("GET", "/admin/queue?upstream=shop&status=queued")) == [2])
        }
    }

    @Test("What waits for a person is said first, and what came back with a backup")
    func notes() async throws {
        let site = AdminSite()
        for _ in 0..<3 { try await site.store() }
        let now = site.time.wallMilliseconds()
        _ = await site.store.settle(1, .unknown(words: "the answer was lost"), now: now)
        _ = await site.store.settle(2, .unknown(words: "restored from a backup of today"), now: now)
        try await site.use { client async throws in
            let notes = try await client.order("GET", "/admin/queue?limit=1").json?["notes"]?.arrayValue ?? []
            #expect(notes.count == 2)
            #expect(notes.first?.stringValue?.hasPrefix("2 calls may have been carried out") == true)
            #expect(notes.last?.stringValue?.hasPrefix("1 of them came back with a restored backup") == true)
        }
    }

    @Test("Nothing shows what a call carries, nor what one asks for its result with")
    func secrets() async throws {
        let site = AdminSite()
        let id = try await site.store(secret: "4111-1111")
        let result = StoredAnswer.result(Array(#"{"content":"of 4111-1111"}"#.utf8))
        _ = await site.store.settle(id, .completed(result), now: site.time.wallMilliseconds())
        try await site.use { client async throws in
            let one = try await client.order("GET", "/admin/queue/\(id)")
            #expect(one.json?["item"]?["status"]?.stringValue == "completed")
            #expect(one.json?["item"]?["caller"]?.stringValue == "anna")
            #expect(one.json?["item"]?["idempotency_key"]?.stringValue == "key-erp__order")
            #expect(one.json?["item"]?["answer"]?.text == #"{"kind":"result","bytes":26}"#)
            let list = try await client.order("GET", "/admin/queue")
            for text in [one.text, list.text] {
                #expect(text.contains("erp__order"))
                #expect(!text.contains("4111-1111"))
            }
        }
    }

    @Test("A call is sent again when that is possible; asking twice does it once")
    func retry() async throws {
        let site = AdminSite()
        for _ in 0..<2 { try await site.store() }
        let now = site.time.wallMilliseconds()
        _ = await site.store.settle(1, .failed(words: "gave up"), now: now)
        _ = await site.store.settle(2, .completed(.result(Array("{}".utf8))), now: now)
        try await site.use { client async throws in
            let first = try await client.order("POST", "/admin/queue/1/retry")
            #expect(first.status == 200)
            #expect(first.json?["changed"]?.boolValue == true)
            #expect(first.json?["item"]?["status"]?.stringValue == "queued")
            let second = try await client.order("POST", "/admin/queue/1/retry", "{}")
            #expect(second.status == 200)
            #expect(second.json?["changed"]?.boolValue == false)
            let done = try await client.order("POST", "/admin/queue/2/retry")
            #expect(done.status == 409)
            #expect(done.refusal?.words.contains("completed") == true)
            #expect(try await client.order("POST", "/admin/queue/3/retry").status == 404)
        }
        #expect(site.store.all.map(\.status) == [.queued, .completed])
        #expect(site.log.lines.map { $0.fact("what") } == Array(repeating: "queue.retry", count: 4))
        #expect(site.log.lines.map { $0.fact("item") } == ["1", "1", "2", "3"])
    }

    @Test("A call is cancelled when that is possible; asking twice does it once")
    func cancel() async throws {
        let site = AdminSite()
        try await site.store()
        try await site.store(upstream: "shop")
        _ = await site.store.lease(upstream: "shop", limit: 1, now: site.time.wallMilliseconds())
        try await site.use { client async throws in
            #expect(try await client.order("DELETE", "/admin/queue/1").json?["changed"]?.boolValue == true)
            let again = try await client.order("DELETE", "/admin/queue/1")
            #expect(again.status == 200)
            #expect(again.json?["changed"]?.boolValue == false)
            let sent = try await client.order("DELETE", "/admin/queue/2")
            #expect(sent.status == 409)
            #expect(sent.refusal?.code == "being_sent")
            #expect(try await client.order("DELETE", "/admin/queue/9").status == 404)
        }
        #expect(site.store.all.map(\.status) == [.cancelled, .inFlight])
        #expect(site.store.all.first?.lastError?.hasPrefix("cancelled by an operator (uid 0") == true)
    }

    @Test("Only calls that are over and old enough are removed")
    func purge() async throws {
        let site = AdminSite()
        for _ in 0..<3 { try await site.store() }
        _ = await site.store.settle(1, .failed(words: "old"), now: site.time.wallMilliseconds())
        site.time.advance(by: .seconds(7_200))
        _ = await site.store.settle(2, .failed(words: "new"), now: site.time.wallMilliseconds())
        try await site.use { client async throws in
            let old = try await client.order(
                "POST", "/admin/queue/purge", #"{"statuses":["failed","expired"],"older_than":"1h"}"#)
            #expect(old.json?["removed"]?.intValue == 1)
            #expect(site.store.all.map(\.id) == [2, 3])
            let any = try await client.order("POST", "/admin/queue/purge", #"{"statuses":["failed"]}"#)
            #expect(any.json?["removed"]?.intValue == 1)
            #expect(any.json?["counts"]?["waiting"]?.intValue == 1)
        }
        #expect(site.store.all.map(\.id) == [3])
    }

    static let mistakes: [(String, String, String, String)] = [
        ("GET", "/admin/queue?status=lost", "", "in_flight"), ("GET", "/admin/queue?limit=0", "", "1 to 1000"),
        ("GET", "/admin/queue?limit=1001", "", "1 to 1000"), ("GET", "/admin/queue?before=x", "", "before"),
        ("GET", "/admin/queue?state=failed", "", "status"), ("GET", "/admin/queue/1?full=1", "", "full"),
        ("POST", "/admin/queue/1/retry", #"{"force":true}"#, "force"), ("POST", "/admin/queue/purge", "", "statuses"),
        ("POST", "/admin/queue/purge", #"{"statuses":["queued"]}"#, "cancel them first"),
        ("POST", "/admin/queue/purge", #"{"statuses":"failed"}"#, "a list of texts"),
        ("POST", "/admin/queue/purge", #"{"statuses":["failed",1]}"#, "a list of texts"),
        ("POST", "/admin/queue/purge", #"{"statuses":["failed"],"older_than":"soon"}"#, "24h"),
        ("POST", "/admin/queue/purge", #"{"statuses":["failed"],"older_than":"-1h"}"#, "24h"),
    ]

    @Test("What cannot be read is refused in words, and nothing is done", arguments: mistakes)
    func mistake(_ verb: String, _ path: String, _ body: String, _ word: String) async throws {
        let site = AdminSite()
        let id = try await site.store()
        _ = await site.store.settle(id, .failed(words: "gave up"), now: site.time.wallMilliseconds())
        site.time.advance(by: .seconds(90_000))
        try await site.use { client async throws in
            let answer = try await client.order(verb, path, body)
            #expect(answer.status == 400)
            #expect(answer.refusal?.words.contains(word) == true, "\(answer.text)")
        }
        #expect(site.store.all.map(\.status) == [.failed])
    }

    @Test(
        "What is below the queue and is no call is not there",
        arguments: [
            "/admin/queue/", "/admin/queue/x", "/admin/queue/-1", "/admin/queue/+1", "/admin/queue/1/",
            "/admin/queue/1/send", "/admin/queue/1/retry/", "/admin/queue/99999999999999999999", "/admin/queue//1",
        ])
    func nothing(_ path: String) async throws {
        let site = AdminSite()
        try await site.store()
        try await site.use { client async throws in
            for verb in ["GET", "DELETE", "POST"] { #expect(try await client.order(verb, path).status == 404) }
        }
        #expect(site.store.all.map(\.status) == [.queued])
    }
}
