// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Synchronization
import Testing

@testable import DurableStore

@Suite("Backups")
struct BackupTests {
    let bench = StoreBench()

    private func open(_ backups: BackupSettings? = BackupSettings()) throws -> DurableStore {
        try bench.open(StoreSettings(directory: bench.directory, backups: backups))
    }

    private var dailies: [String] { StorageFiles.names(in: bench.directory + "/backups") }

    private func today() -> String {
        BackupFiles(directory: bench.directory + "/backups").path(wallMilliseconds: bench.time.wallMilliseconds())
    }

    @Test("a start makes today's when it is missing, one plain file that anybody in the group may read")
    func atStart() async throws {
        let store = try open()
        let isMade = await StoreBench.eventually { StorageFiles.exists(today()) }
        #expect(isMade)
        await store.lookAround()
        #expect(dailies.count == 1)
        #expect(bench.mode("/backups/" + dailies[0]) == 0o660)
        #expect(
            bench.shell("sqlite3 backups/\(dailies[0]) 'PRAGMA integrity_check; PRAGMA journal_mode;'").output
                == "ok\ndelete\n")
        #expect(dailies.count == 1)
        store.close()
        #expect(!bench.exists("queue.db-wal"))
    }

    @Test("one is made after midnight, and today's again at its time of day, once")
    func schedule() async throws {
        let store = try open(BackupSettings(hour: 3, minute: 30))
        await store.lookAround()
        let midnight = LocalDay.moment(hour: 0, minute: 0, on: bench.time.wallMilliseconds(), plus: 1)
        bench.time.advance(seconds: (midnight - bench.time.wallMilliseconds()) / 1_000 + 1)
        await store.lookAround()
        #expect(dailies.count == 2)
        let atMidnight = BackupFiles.madeAt(today())
        #expect(atMidnight == bench.time.wallMilliseconds())
        bench.time.advance(seconds: 3_600)
        await store.lookAround()
        #expect(BackupFiles.madeAt(today()) == atMidnight)
        let again = LocalDay.moment(hour: 3, minute: 30, on: bench.time.wallMilliseconds())
        bench.time.advance(seconds: (again - bench.time.wallMilliseconds()) / 1_000 + 1)
        await store.lookAround()
        let refreshed = BackupFiles.madeAt(today())
        #expect(refreshed == bench.time.wallMilliseconds())
        bench.time.advance(seconds: 7_200)
        await store.lookAround()
        #expect(BackupFiles.madeAt(today()) == refreshed)
        #expect(dailies.count == 2)
        store.close()
    }

    @Test(
        "the day is the one of the machine's time zone",
        arguments: [("UTC", "20261123"), ("Pacific/Auckland", "20261124")])
    func zone(zone: String, day: String) async throws {
        // 2026-11-23 18:20 UTC; a process of its own, because the zone belongs to the process.
        await #expect(processExitsWith: .exitCode(7)) { [zone = zone as String, day = day as String] in
            setenv("TZ", zone, 1)
            let wall: Int64 = 1_795_458_001_123
            guard LocalDay.name(wall) == day else { exit(1) }
            let midnight = LocalDay.moment(hour: 0, minute: 0, on: wall, plus: 1)
            guard LocalDay.name(midnight - 1) == day, LocalDay.name(midnight) > day else { exit(2) }
            exit(7)
        }
        let printed = StoreBench.run(["/usr/bin/env", "TZ=" + zone, "date", "-d", "@1795458001", "+%Y%m%d"]).output
        #expect(printed == day + "\n")
    }

    @Test("days with a changed clock have every time of day exactly once")
    func clockChange() async throws {
        await #expect(processExitsWith: .exitCode(7)) {
            setenv("TZ", "Europe/Berlin", 1)
            // 2026-03-29: 02:00 to 03:00 does not exist. 2026-10-25: it comes twice.
            for noon: Int64 in [1_774_778_400_000, 1_792_926_000_000] {
                let night = LocalDay.moment(hour: 2, minute: 30, on: noon)
                guard LocalDay.name(night) == LocalDay.name(noon), night < noon else { exit(1) }
                let hours =
                    LocalDay.moment(hour: 0, minute: 0, on: noon, plus: 1)
                    - LocalDay.moment(hour: 0, minute: 0, on: noon)
                guard hours == 23 * 3_600_000 || hours == 25 * 3_600_000 else { exit(2) }
            }
            exit(7)
        }
    }

    @Test("the time of day is HH:MM and nothing else")
    func timeOfDay() {
        #expect(BackupSettings(at: "03:30") == BackupSettings(hour: 3, minute: 30))
        #expect(BackupSettings(at: "23:59", kept: 2) == BackupSettings(hour: 23, minute: 59, kept: 2))
        for wrong in ["", "3:30", "24:00", "12:60", "12-30", "+1:30", "12:3x", "12:300"] {
            #expect(BackupSettings(at: wrong) == nil, "\(wrong)")
        }
    }

    @Test("the oldest go, and nothing but daily backups")
    func rotation() async throws {
        let others = [
            "queue-2026111.db", "queue-20261101.db.keep", "queue-2026110a.db", "notes", "my-queue-20261101.db",
        ]
        try bench.open().close()
        for name in others + (1...9).map({ "queue-2026110\($0).db" }) + ["queue-20261101.db.part"] {
            bench.overwrite(bench.directory + "/backups/" + name, at: 0, with: [1])
        }
        // One that somebody was killed over, and one that is just being fetched.
        for name in ["queue-1a.fetch", "queue-2b.fetch"] {
            bench.overwrite(bench.directory + "/backups/" + name, at: 0, with: [1])
        }
        let dates = "touch -d 2026-11-20Z backups/*1a.fetch && touch -d 2026-11-23Z backups/*2b.fetch"
        #expect(bench.shell(dates).status == 0)
        let store = try open(BackupSettings(kept: 3))
        await store.lookAround()
        let kept = ["queue-20261108.db", "queue-20261109.db", "queue-20261123.db", "queue-2b.fetch"]
        #expect(Set(dailies) == Set(others + kept))
        store.close()
    }

    @Test("a backup during writes holds whole transactions and does not stop them")
    func concurrent() async throws {
        let store = try bench.open()
        for number in 0..<200 { try await store.write(StoreBench.call("first\(number)", padding: 4_000)) }
        let isOver = Mutex(false)
        async let written = { () async throws -> Int in
            var pairs = 0
            while !isOver.withLock({ $0 }) {
                try await store.write("BEGIN;" + StoreBench.call("x") + StoreBench.call("y") + "COMMIT")
                pairs += 1
            }
            return pairs
        }()
        for number in 0..<5 {
            let path = bench.root + "/copy\(number).db"
            let report = try await store.backup(to: path)
            #expect(report.bytes == StorageFiles.bytes(of: path))
            #expect(try bench.number("SELECT count(*) FROM queue_items WHERE tool LIKE 'first%'", in: path) == 200)
            #expect(
                try bench.number(
                    """
                    SELECT (SELECT count(*) FROM queue_items WHERE tool = 'x')
                        = (SELECT count(*) FROM queue_items WHERE tool = 'y')
                    """,
                    in: path) == 1)
            #expect(try bench.text("PRAGMA integrity_check", in: path) == "ok")
        }
        isOver.withLock { $0 = true }
        #expect(try await written > 0)
        store.close()
    }

    @Test("one is fetched to where the gateway itself makes none")
    func fetched() async throws {
        let store = try bench.open()
        try await store.write(StoreBench.call("a"))
        let target = bench.root + "/elsewhere.db"
        let fetch = BackupFetch(to: target, from: bench.directory)
        #expect(fetch.isPossible)
        try fetch.check()
        let made = try await store.backup(to: fetch.source)
        #expect(try fetch.take() == made.bytes)
        #expect(StoreBench.run(["/usr/bin/cmp", target, fetch.source]).status == 0)
        #expect(StorageFiles.names(in: bench.root).filter { $0.hasPrefix("elsewhere") } == ["elsewhere.db"])
        fetch.discard()
        #expect(dailies.filter { $0.hasSuffix(".fetch") } == [])
        #expect(try bench.calls(in: target) == ["a queued"])
        // Again, over the one that is there; but never over what is no backup, nor among the files in use.
        try fetch.check()
        bench.overwrite(bench.root + "/notes", at: 0, with: [1])
        #expect(throws: StorageCareError.self) {
            try BackupFetch(to: bench.root + "/notes", from: bench.directory).check()
        }
        for inside in ["/queue.db", "/backups/x.db", "/new/x.db"] {
            #expect(!BackupFetch(to: bench.directory + inside, from: bench.directory).isPossible)
        }
        #expect(!BackupFetch(to: bench.root + "/nowhere/x.db", from: bench.directory).isPossible)
        store.close()
    }

    @Test(
        "a place that the service manager hides is known by the mounts",
        arguments: [
            ("/tmp", "a /tmp of its own"), ("/tmp/deep", "a /tmp of its own"), ("/home/anna", "/home is hidden"),
            ("/root", "/root is hidden"), ("/home/anna/open/x", nil), ("/var/lib/mcp", nil), ("/tmpfiles", nil),
        ] as [(String, String?)])
    func hidden(folder: String, words: String?) {
        let mounts = """
            60 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
            61 60 0:40 / /tmp rw - tmpfs tmpfs rw
            62 61 0:40 /systemd-private-0f-mcp-gateway.service-Xy/tmp /tmp rw - tmpfs tmpfs rw
            63 60 0:25 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw
            65 60 0:26 /host/inaccessible/dir /root ro - tmpfs tmpfs rw
            64 63 8:1 /home/anna/open /home/anna/open rw - ext4 /dev/sda1 rw
            """
        let told = HiddenPlace.words(for: folder, mounts: mounts)
        #expect(words.map { told?.contains($0) == true } ?? (told == nil))
    }

    @Test("a damaged database does not replace a good backup")
    func damagedSource() async throws {
        let store = try bench.open()
        for number in 0..<100 { try await store.write(StoreBench.call("call\(number)", padding: 3_000)) }
        _ = try await store.backup(to: nil)
        let before = bench.files("/backups")
        await store.releaseMemory()
        // Through the file system: as a disk does it.
        let middle = Int(StorageFiles.bytes(of: bench.database) / 8_192) * 4_096
        #expect(
            bench.shell(
                "dd if=/dev/urandom of=queue.db bs=4096 count=8 seek=\(middle / 4_096) conv=notrunc status=none"
            ).status == 0)
        await #expect {
            _ = try await store.backup(to: nil)
        } throws: {
            if case StorageCareError.damaged = $0 { true } else { false }
        }
        #expect(bench.files("/backups").filter { $0.hasPrefix("queue-") } == before.filter { $0.hasPrefix("queue-") })
        #expect(dailies.count == 1)
        #expect(store.component("storage")?.status == .degraded)
        #expect(store.component("storage")?.detail.contains("no backup was made") == true)
        store.close()
    }

    @Test("what is in the way is named in words, and tried again later")
    func trouble() async throws {
        try bench.open().close()
        #expect(bench.shell("mkdir -p backups/$(basename '\(today())').part/x").status == 0)
        let store = try open()
        await store.lookAround()
        #expect(store.component("storage")?.status == .degraded)
        #expect(store.component("storage")?.detail.contains("no backup was made") == true)
        #expect(bench.shell("rm -r backups/*").status == 0)
        await store.lookAround()
        #expect(dailies.isEmpty)
        bench.time.advance(seconds: 601)
        await store.lookAround()
        #expect(dailies.count == 1)
        #expect(store.component("storage")?.status == .healthy)
        store.close()
    }

    @Test("a backup lands on nothing that is not one")
    func targets() async throws {
        let store = try bench.open()
        let letter = bench.root + "/letter"
        bench.overwrite(letter, at: 0, with: Array("dear".utf8))
        #expect(link(bench.database, bench.root + "/alias.db") == 0)
        for path in [
            "here.db", bench.database, bench.root + "/alias.db", letter, bench.root + "/no/such/place.db",
            bench.root + "/",
        ] {
            await #expect(throws: StorageCareError.self, "\(path)") { _ = try await store.backup(to: path) }
        }
        #expect(bench.text(of: letter) == "dear")
        let path = bench.root + "/mine.db"
        for _ in 0..<2 { #expect(try await store.backup(to: path).path == path) }
        store.close()
        await #expect(throws: StorageCareError.closing) { _ = try await store.backup(to: path) }
    }
}

extension StoreBench {
    func text(of path: String) -> String { Self.run(["/bin/cat", path]).output }
}
