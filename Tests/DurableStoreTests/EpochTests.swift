// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Testing

@testable import DurableStore

@Suite("Epochs of the main file")
struct EpochTests {
    let bench = StoreBench()

    @Test("an epoch is read as it was written, and nothing else is one")
    func text() {
        for kind in [Epoch.Kind.checkpoint, .backup, .salvage] {
            let epoch = Epoch(kind, after: 41)
            #expect(Epoch(epoch.description) == epoch)
            #expect(epoch.number == 42)
            #expect(Epoch(epoch.description.dropLast()) == nil)
            #expect(Epoch(epoch.description.replacing("42-", with: "43-")) == nil)
        }
        #expect(Epoch("-") == Epoch.none)
        for wrong in ["", "e", "x1-0-0", "e1--", "e1-2-3-4", "é"] { #expect(Epoch(wrong) == nil, "\(wrong)") }
    }

    @Test("a mark that is half written leaves the one before")
    func mark() throws {
        let path = bench.root + "/x.db"
        var file = EpochFile(database: path)
        #expect(file.epochs == nil)
        let (one, two) = (Epoch(.checkpoint, after: 1), Epoch(.checkpoint, after: 2))
        for epochs in [[one], [one, two]] {
            let isWritten = file.write(epochs)
            #expect(isWritten)
        }
        #expect(EpochFile(database: path).epochs == [one, two])
        var again = EpochFile(database: path)
        let isWritten = again.write([two])
        #expect(isWritten)
        #expect(EpochFile(database: path).epochs == [two])
        // The third write lies where the first was: damage it, then the second too.
        bench.overwrite(path + ".epoch", at: 512 + 30, with: [0x21])
        #expect(EpochFile(database: path).epochs == [one, two])
        bench.overwrite(path + ".epoch", at: 30, with: [0x21])
        #expect(EpochFile(database: path).epochs == nil)
    }

    @Test("starts, stops and crashes of an ordinary life set nothing aside and undo nothing")
    func ordinary() async throws {
        var current = bench
        var held: [StoreBench] = []
        for round in 0..<4 {
            var store = try current.open()
            try await store.write(StoreBench.call("call\(round)a"))
            store.close()
            store = try current.open()
            let crashed = try await current.crash(of: store, after: [StoreBench.call("call\(round)b")])
            store.close()
            held.append(current)
            current = crashed
            #expect(StorageFiles.bytes(of: current.database + "-wal") > 0)
        }
        let store = try current.open()
        #expect(try current.calls().count == 8)
        #expect(try current.calls().allSatisfy { $0.hasSuffix(" queued") })
        #expect(current.names("queue.db-").filter { $0 != "queue.db-wal" && $0 != "queue.db-shm" }.isEmpty)
        #expect(current.names("queue.db.") == ["queue.db.epoch"])
        #expect(store.component("queue")?.status == .healthy)
        #expect(store.component("storage")?.status == .healthy)
        store.close()
        #expect(EpochFile(database: current.database).epochs?.count == 1)
    }

    @Test("a crash in any step of a checkpoint loses nothing", arguments: 0..<5)
    func windows(step: Int) async throws {
        let store = try bench.open()
        let crashed = try await bench.crash(of: store, after: [StoreBench.call("kept")])
        store.close()
        let path = crashed.database
        var mark = EpochFile(database: path)
        let epochs = try #require(mark.epochs)
        switch step {
        case 0:
            // Marked, and the new epoch not committed: as if the one that is there were the old one.
            let isWritten = mark.write(epochs + [Epoch(.checkpoint, after: 99)])
            #expect(isWritten)
        case 1: break  // Committed, and nothing brought to the main file.
        case 2:
            // Brought over and the log emptied; the mark still names both.
            let connection = try Connection(path: path)
            #expect(try connection.emptyLog())
        case 3:
            // The mark is gone: as after an update from a version without marks.
            unlink(path + ".epoch")
        default:
            // The mark is of no use.
            for place in [0, 512] { crashed.overwrite(path + ".epoch", at: place, with: Array("nonsense".utf8)) }
        }
        for _ in 0..<2 {
            let again = try crashed.open()
            #expect(try crashed.calls() == ["kept queued"])
            #expect(again.component("queue")?.status == .healthy)
            again.close()
            #expect(EpochFile(database: path).epochs?.count == 1)
        }
        #expect(crashed.names("queue.db") == ["queue.db", "queue.db.epoch"])
    }

    @Test("a main file half written by a checkpoint is completed from the log", arguments: 0..<12)
    func torn(seed: UInt64) async throws {
        let store = try bench.open()
        try await store.write(StoreBench.call("old", padding: 30_000))
        await store.releaseMemory()
        let crashed = try await bench.crash(
            of: store,
            after: (0..<20).map { StoreBench.call("new\($0)", padding: 3_000) } + [
                "DELETE FROM queue_items WHERE id = 1"
            ])
        store.close()
        let path = crashed.database
        let whole = crashed.root + "/whole.db"
        crashed.copy(path, whole)
        crashed.copy(path + "-wal", whole + "-wal")
        #expect(try Connection(path: whole).emptyLog())
        // Any of the pages may have come through, in any order.
        var random = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        var changed = 0
        for page in 0..<Int(StorageFiles.bytes(of: whole) / 4_096) {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            guard random >> 63 == 0 else { continue }
            changed += 1
            let step =
                "dd if='\(whole)' of='\(path)' bs=4096 count=1 skip=\(page) seek=\(page) conv=notrunc status=none"
            #expect(crashed.shell(step).status == 0)
        }
        #expect(changed > 0)
        let again = try crashed.open()
        #expect(try crashed.number("SELECT count(*) FROM queue_items WHERE status = 'queued'") == 20)
        #expect(try crashed.text("PRAGMA integrity_check") == "ok")
        #expect(again.component("storage")?.status == .healthy)
        again.close()
        #expect(crashed.names("queue.db") == ["queue.db", "queue.db.epoch"])
    }

    /// What else the page may come to hold or lose with the same checkpoint.
    @Test(
        "whatever sectors of the page with the epoch came through, the log is known for its own",
        arguments: [
            "", "INSERT INTO meta VALUES ('restored', 'at some time')",
            "DELETE FROM meta WHERE key = 'created_at'", "INSERT INTO meta VALUES ('a', zeroblob(900))",
            "UPDATE meta SET value = value || ' and more' WHERE key < 'epoch'",
        ])
    func tornPage(change: String) throws {
        let path = bench.root + "/x.db"
        bench.overwrite(path, at: 0, with: [])
        let connection = try Connection(path: path)
        connection.keepFilesOnClose(true)
        _ = try connection.text("PRAGMA journal_mode = WAL")
        try Schema.bring(connection, from: 0, now: "2026-11-23 18:20:01.123")
        let page = Int(try connection.integer("SELECT rootpage FROM sqlite_schema WHERE name = 'meta'") ?? 0)
        for number in [0, 8, 9, 98] as [Int64] {
            let (old, new) = (Epoch(.checkpoint, after: number), Epoch(.checkpoint, after: number + 1))
            try EpochKeeper.set(old, connection)
            #expect(try connection.emptyLog())
            let before = PowerCutLog.read(path)
            var mark = EpochFile(database: path)
            let isMarked = mark.write([old, new])
            #expect(isMarked)
            try connection.execute("BEGIN; " + change)
            try EpochKeeper.set(new, connection)
            try connection.execute("COMMIT")
            let log = PowerCutLog.read(path + "-wal")
            #expect(try connection.emptyLog())
            let after = PowerCutLog.read(path)
            // The file that is in use is left alone: a copy has the sectors of both.
            let copy = bench.root + "/copy.db"
            bench.overwrite(copy + ".epoch", at: 0, with: PowerCutLog.read(path + ".epoch"))
            bench.overwrite(copy + "-wal", at: 0, with: log)
            for sectors in 0..<256 {
                var torn = before
                for sector in 0..<8 where sectors & 1 << sector != 0 {
                    let from = (page - 1) * 4_096 + sector * 512
                    torn.replaceSubrange(from..<from + 512, with: after[from..<from + 512])
                }
                bench.overwrite(copy, at: 0, with: torn)
                #expect(try Provenance(of: copy).origin == .own, "epoch \(number), sectors \(sectors)")
            }
            try connection.execute("DELETE FROM meta WHERE key IN ('restored', 'a')")
        }
    }

    @Test("without a database the log of the former one is kept, not played into the fresh one")
    func removed() async throws {
        let store = try bench.open()
        let crashed = try await bench.crash(of: store, after: [StoreBench.call("lost")])
        store.close()
        unlink(crashed.database)
        let fresh = try crashed.open()
        #expect(try crashed.calls().isEmpty)
        #expect(crashed.names("queue.db-wal.from-").count == 1)
        #expect(fresh.component("queue")?.status == .healthy)
        #expect(fresh.component("storage")?.detail.contains("holds calls of the queue") == true)
        fresh.close()
    }

    @Test("the first start of all may end anywhere")
    func firstStart() async throws {
        let store = try bench.open()
        store.close()
        // The tables in the log, nothing but a header in the main file, no mark.
        let other = StoreBench()
        #expect(StoreBench.run(["/bin/mkdir", "-p", other.directory]).status == 0)
        other.overwrite(other.database, at: 0, with: [])
        let connection = try Connection(path: other.database)
        connection.keepFilesOnClose(true)
        #expect(try connection.text("PRAGMA journal_mode = WAL") == "wal")
        try Schema.bring(connection, from: 0, now: "2026-11-23 18:20:01.123")
        try connection.execute(StoreBench.call("early"))
        let third = StoreBench()
        _ = StoreBench.run(["/bin/cp", "-a", other.root + "/lib", third.root + "/lib"])
        let again = try third.open()
        #expect(try third.calls() == ["early queued"])
        again.close()
        #expect(third.names("queue.db") == ["queue.db", "queue.db.epoch"])
    }
}
