// Licensed under the Apache License 2.0; see LICENSE.

import CSQLite
import GatewayCore
import Glibc
import Testing

@testable import DurableStore

@Suite("Damage and salvage")
struct SalvageTests {
    let bench = StoreBench()

    /// A stopped store with 300 calls, one a page, and rows of the other tables.
    private func filled() async throws {
        let store = try bench.open()
        for number in 0..<300 {
            try await store.write(StoreBench.call("call\(number)", status: "queued", padding: 3_000))
        }
        try await store.write(
            """
            INSERT INTO call_ledger VALUES (x'0102', x'03', 'running', 'l', NULL, NULL, NULL, '2026', '2027');
            INSERT INTO meta VALUES ('note', 'kept')
            """)
        store.record(bench.error("logged"))
        store.add(.init([1, 2, 3]), expires: bench.time.wallMilliseconds() + 1_000_000)
        await store.flush()
        store.close()
    }

    /// The page numbers, from 1, that hold rows of the queue.
    private func leaves() throws -> [Int] {
        let connection = try Connection(path: bench.database, .mainFileOnly)
        let pages = try connection.integer("PRAGMA page_count") ?? 0
        var found: [Int] = []
        let file = open(bench.database, O_RDONLY)
        defer { close(file) }
        for page in 0..<Int(pages) {
            var bytes = [UInt8](repeating: 0, count: 4_096)
            _ = pread(file, &bytes, 4_096, off_t(page * 4_096))
            if bytes[0] == 0x0D, String(decoding: bytes, as: UTF8.self).contains("erpcall") { found.append(page + 1) }
        }
        return found
    }

    private func spoil(_ pages: some Sequence<Int>) {
        for page in pages {
            bench.overwrite(bench.database, at: (page - 1) * 4_096, with: Array(repeating: 0xA5, count: 4_096))
        }
    }

    @Test("a tree that leads in circles is left behind", .timeLimit(.minutes(1)))
    func circle() async throws {
        try await filled()
        let leaves = try leaves()
        let bytes = PlainFile.contents(of: bench.database, count: Int(StorageFiles.bytes(of: bench.database)))
        // The row of one page comes again later, right before a page that cannot be read.
        let start = (leaves[40] - 1) * 4_096
        bench.overwrite(
            bench.database, at: (leaves[60] - 1) * 4_096, with: Array(try #require(bytes)[start..<start + 4_096]))
        spoil([leaves[61]])
        let store = try bench.open()
        let kept = try #require(try bench.number("SELECT count(*) FROM queue_items"))
        #expect(kept >= 296 && kept <= 298, "\(kept) rows")
        #expect(try bench.number("SELECT count(*) FROM call_ledger") == 1)
        store.close()
    }

    @Test("rows around damaged pages are saved, the rest of the tables too")
    func pages() async throws {
        try await filled()
        let leaves = try leaves()
        #expect(leaves.count > 200)
        spoil([leaves[0], leaves[50], leaves[51], leaves[52], leaves[120], leaves[leaves.count - 1]])
        let store = try bench.open()
        let storage = try #require(store.component("storage"))
        #expect(storage.status == .degraded)
        #expect(storage.detail.contains("stored calls"), "\(storage.detail)")
        #expect(storage.detail.contains("damaged places were skipped"))
        let kept = try #require(try bench.number("SELECT count(*) FROM queue_items"))
        // Six pages of one row each, give or take a neighbour.
        #expect(kept >= 290 && kept <= 294, "\(kept) rows")
        #expect(storage.detail.contains("\(kept) stored calls"))
        #expect(try bench.number("SELECT count(*) FROM queue_items WHERE length(payload) = 3000") == kept)
        #expect(try bench.number("SELECT count(*) FROM call_ledger") == 1)
        #expect(try bench.number("SELECT count(*) FROM error_log") == 1)
        #expect(store.contains(.init([1, 2, 3])))
        #expect(try bench.text("SELECT value FROM meta WHERE key = 'note'") == "kept")
        #expect(store.calls.counts().waiting == Int(kept))
        #expect(bench.exists("queue.db.corrupt"))
        // At any time, also now.
        #expect(bench.shell("find . -name '*.corrupt' -delete").status == 0)
        try await store.write(StoreBench.call("after"))
        store.close()
        #expect(bench.shell("sqlite3 queue.db 'PRAGMA integrity_check'").output == "ok\n")
        let again = try bench.open()
        #expect(again.component("storage")?.status == .healthy)
        #expect(try bench.number("SELECT count(*) FROM queue_items") == kept + 1)
        // Nobody took the new file for a backup.
        #expect(try bench.number("SELECT count(*) FROM queue_items WHERE status = 'unknown'") == 0)
        again.close()
    }

    @Test("a crash while the salvaged file is put in place ends well", arguments: [true, false])
    func interrupted(isInPlace: Bool) async throws {
        try await filled()
        spoil(try leaves()[10..<14])
        _ = try Salvage.draft(from: bench.database, isRestored: false, time: bench.time)
        #expect(link(bench.database, bench.database + ".corrupt") == 0)
        if isInPlace { #expect(rename(Salvage.draft(of: bench.database), bench.database) == 0) }
        let store = try bench.open()
        let kept = try bench.number("SELECT count(*) FROM queue_items WHERE status = 'queued'") ?? 0
        #expect(kept >= 294 && kept <= 296, "\(kept) rows")
        #expect(store.component("queue")?.status == .healthy)
        store.close()
        #expect(!bench.exists("queue.db.salvage"))
    }

    @Test("rows that are only in the log are saved with the others")
    func log() async throws {
        let store = try bench.open()
        for number in 0..<50 { try await store.write(StoreBench.call("call\(number)", padding: 3_000)) }
        await store.releaseMemory()
        let crashed = try await bench.crash(of: store, after: [StoreBench.call("in the log")])
        store.close()
        // The root of an index: not needed, and found by the check.
        let root = try #require(
            try crashed.number(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'error_log_by_time'", in: bench.database))
        crashed.overwrite(crashed.database, at: (Int(root) - 1) * 4_096, with: Array(repeating: 0xA5, count: 4_096))
        let again = try crashed.open()
        #expect(again.component("storage")?.status == .degraded)
        #expect(try crashed.number("SELECT count(*) FROM queue_items WHERE status = 'queued'") == 51)
        #expect(crashed.exists("queue.db-wal.corrupt"))
        again.close()
    }

    @Test("a restored file that is damaged is salvaged, and its calls wait for a person all the same")
    func restored() async throws {
        try await filled()
        let store = try bench.open()
        let copy = bench.root + "/copy.db"
        _ = try await store.backup(to: copy)
        store.close()
        bench.copy(copy, bench.database)
        spoil(try leaves()[10..<12])
        let again = try bench.open()
        let kept = try bench.number("SELECT count(*) FROM queue_items WHERE status = 'unknown'") ?? 0
        #expect(kept >= 296 && kept <= 298, "\(kept) rows")
        #expect(again.component("queue")?.status == .degraded)
        again.close()
    }

    /// Takes one entry out of an index of a stopped store: what a quick check does not see.
    private func spoilIndex() throws {
        let connection = try Connection(path: bench.database)
        try connection.execute(
            """
            CREATE TABLE other (timestamp TEXT); CREATE INDEX other_index ON other (timestamp);
            INSERT INTO other VALUES ('2020')
            """)
        let root = try connection.integer("SELECT rootpage FROM sqlite_schema WHERE name = 'other_index'") ?? 0
        let page = Int(root) - 1
        #expect(try connection.checkpoint())
        // The entry's text; the row keeps its own.
        let file = open(bench.database, O_RDWR)
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        _ = pread(file, &bytes, 4_096, off_t(page * 4_096))
        let at = try #require(bytes.firstIndex(of: UInt8(ascii: "2")))
        bench.overwrite(bench.database, at: page * 4_096 + at, with: [UInt8(ascii: "9")])
    }

    @Test("the deep check behind serving finds what the quick one does not see; the next start salvages")
    func deepCheck() async throws {
        try await filled()
        try spoilIndex()
        var store = try bench.open()
        let isFound = await StoreBench.eventually { store.component("storage")?.status == .degraded }
        #expect(isFound)
        #expect(store.component("storage")?.detail.contains("restart the gateway") == true)
        // No backup of that.
        await #expect {
            _ = try await store.backup(to: nil)
        } throws: {
            if case StorageCareError.damaged = $0 { true } else { false }
        }
        await store.flush()
        store.close()
        store = try bench.open()
        #expect(store.component("storage")?.detail.contains("set aside") == true)
        #expect(try bench.number("SELECT count(*) FROM queue_items WHERE status = 'queued'") == 300)
        store.close()
    }

    @Test("rebuilding the indices repairs one, and says what it did")
    func rebuild() async throws {
        try await filled()
        try spoilIndex()
        let store = try bench.open()
        let isFound = await StoreBench.eventually { store.component("storage")?.status == .degraded }
        #expect(isFound)
        #expect(await store.verify(nil).isSound == false)
        bench.overwrite(bench.directory + "/queue/stray", at: 0, with: [1])
        bench.overwrite(bench.directory + "/queue/p1", at: 0, with: [1])
        #expect(bench.shell("touch -d 2020-01-01 queue/stray queue/p1").status == 0)
        try await store.write("UPDATE queue_items SET payload_ref = 'queue/p1' WHERE id = 1")
        try await store.write("UPDATE queue_items SET payload_ref = 'queue/p2' WHERE id = 2")
        let report = await store.rebuild()
        #expect(report.indices >= 12)
        #expect(report.orphans == 1)
        #expect(report.rowsWithoutPayload == 1)
        #expect(report.problems == [])
        #expect(report.words.contains("1 orphaned payload files found and kept; 1 stored calls without"))
        #expect(bench.exists("queue/stray"))
        #expect(store.component("storage")?.status == .healthy)
        await store.flush()
        #expect(try bench.number("SELECT count(*) FROM meta WHERE key = 'damage'") == 0)
        store.close()
        let again = try bench.open()
        #expect(again.component("storage")?.status == .healthy)
        again.close()
    }

    @Test("verifying counts rows and reads payload files")
    func verify() async throws {
        try await filled()
        let store = try bench.open()
        for name in ["p1", "p2"] { bench.overwrite(bench.directory + "/queue/" + name, at: 0, with: [1]) }
        // SHA-256 of the byte 1.
        let digest = "x'4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a'"
        try await store.write(
            """
            UPDATE queue_items SET payload_ref = 'p1', payload_digest = \(digest) WHERE id = 1;
            UPDATE queue_items SET result_ref = 'p2', result_digest = x'00' WHERE id = 2;
            UPDATE queue_items SET payload_ref = 'p3' WHERE id = 3
            """)
        let report = await store.verify(nil)
        #expect(report.rows["queue_items"] == 300)
        #expect(report.payloadsSound == 1)
        #expect(report.problems.count == 2)
        #expect(report.problems.contains { $0.contains("/queue/p2, the result of stored call 2, is not what") })
        #expect(report.problems.contains { $0.contains("/queue/p3, the payload of stored call 3, is missing") })
        _ = try await store.backup(to: nil)
        let backup = bench.directory + "/backups/" + StorageFiles.names(in: bench.directory + "/backups")[0]
        let other = await store.verify(backup)
        #expect(other.problems.count == 2)
        #expect(other.payloadsSound == 1)
        #expect(await store.verify("/nonexistent").problems == ["there is no such file"])
        store.close()
        #expect(DurableStore.verify(file: bench.database, time: bench.time).problems.count == 2)
        #expect(bench.names("queue.db") == ["queue.db", "queue.db.epoch"])
    }
}
