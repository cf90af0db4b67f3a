// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing

@testable import DurableStore

@Suite struct JournalFactsTests {
    @Test func `a call that was stored counts once however often it was sent, and one caller's share is known`() throws
    {
        let bench = StoreBench()
        let store = try bench.open()
        func record(_ status: String, _ id: RequestID, caller: String = "anna", route: String = "upstream") {
            store.record(
                CallRecord(
                    wallMilliseconds: bench.time.wallMilliseconds(), method: "tools/call", tool: "erp__work",
                    upstream: "erp", route: route, status: status, responseMilliseconds: 1, caller: caller,
                    requestID: id))
        }
        let storedCall = RequestID.random()
        record("queued", storedCall, route: "queue")
        for status in ["failed", "failed", "ok"] { record(status, storedCall) }
        record("ok", .random())
        record("ok", .random(), caller: "ben")
        store.close()
        let facts = try JournalFacts.read(
            directory: bench.directory, isInUse: false, since: bench.time.wallMilliseconds() - 1)
        func calls(_ status: String) -> Int {
            facts.calls.filter { $0.status == status }.reduce(0) { $0 + $1.count }
        }
        #expect(calls("queued") == 1 && calls("ok") == 2 && calls("failed") == 0)
        #expect(facts.shareOfOne == 5.0 / 6)
        #expect(facts.waitingOfOne == 0 && facts.kept.isEmpty)
    }

    @Test func `who has the storage in use is told from beside it, and that nobody has`() throws {
        let bench = StoreBench()
        #expect(DurableStore.holder(of: bench.directory) == nil, "there is no such directory yet")
        let store = try bench.open()
        store.noteListening(port: 4_711)
        let holder = try #require(DurableStore.holder(of: bench.directory))
        #expect(holder.pid == getpid() && holder.port == 4_711)
        store.close()
        #expect(DurableStore.holder(of: bench.directory) == nil)
    }
}
