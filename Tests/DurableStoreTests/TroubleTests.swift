// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Glibc
import Telemetry
import Testing

@testable import DurableStore

@Suite("Storage trouble")
struct TroubleTests {
    let bench = StoreBench()

    @Test("a second gateway is told who has the directory, and leaves no trace")
    func locked() async throws {
        let store = try bench.open()
        store.noteListening(port: 18_080)
        await store.releaseMemory()
        let before = bench.files()
        #expect(throws: StoreError.locked(pid: getpid(), directory: bench.directory, port: 18_080)) {
            _ = try bench.open()
        }
        #expect(bench.files() == before)
        #expect(StoreBench.run(["/usr/bin/flock", "-n", bench.directory + "/gateway.lock", "/bin/true"]).status == 1)
        store.close()
        #expect(StoreBench.run(["/usr/bin/flock", "-n", bench.directory + "/gateway.lock", "/bin/true"]).status == 0)
        try bench.open().close()
    }

    @Test("another process that holds the lock keeps us out until it is killed")
    func lockedByAnother() async throws {
        try bench.open().close()
        let before = bench.files("/queue.db")
        let script = "echo 4711 9090 > \"$0\"; echo held; exec sleep 60"
        let lock = bench.directory + "/gateway.lock"
        let child = try #require(Child(["/usr/bin/flock", "-n", "-F", lock, "/bin/sh", "-c", script, lock]))
        #expect(child.firstWord() == "held\n")
        #expect(throws: StoreError.locked(pid: 4_711, directory: bench.directory, port: 9_090)) {
            _ = try bench.open()
        }
        #expect(bench.files("/queue.db") == before)
        kill(child.pid, SIGKILL)
        _ = child.finish()
        try bench.open().close()
    }

    @Test("kill -9 in the middle of writing leaves a whole database with every committed row")
    func killed() async throws {
        let directory = bench.directory
        await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
            let time = TestTime()
            let store = try DurableStore.open(
                StoreSettings(directory: directory), time: time, log: StoreBench.silent, metrics: MetricsRegistry())
            for _ in 0..<200 {
                store.record(
                    ErrorRecord(
                        wallMilliseconds: time.wallMilliseconds(), errorType: "t", message: "m", component: "c"))
            }
            await store.flush()
            for _ in 0..<300 {
                store.record(
                    ErrorRecord(
                        wallMilliseconds: time.wallMilliseconds(), errorType: "t", message: "m", component: "c"))
            }
            kill(getpid(), SIGKILL)
        }
        #expect(bench.exists("queue.db-wal"))
        let store = try bench.open()
        let kept = try bench.number("SELECT count(*) FROM error_log WHERE error_type = 't'") ?? 0
        #expect(kept >= 200)
        // Its successor says so, once.
        let told = "SELECT count(*) FROM error_log WHERE error_type = 'unclean_stop' AND component = 'storage'"
        #expect(try bench.number(told) == 1)
        #expect(try Connection(path: bench.database).text("PRAGMA integrity_check") == "ok")
        #expect(store.components()[0].status == .healthy)
        store.close()
        try bench.open().close()
        #expect(try bench.number(told) == 1)
    }

    @Test("a file that is no database is set aside, and the gateway goes on")
    func garbage() async throws {
        for round in 0..<3 {
            #expect(StoreBench.run(["/bin/mkdir", "-p", bench.directory]).status == 0)
            unlink(bench.database)
            bench.overwrite(bench.database, at: 0, with: Array("this is not a database, round \(round)".utf8))
            let store = try bench.open()
            let storage = store.components()[0]
            #expect(storage.status == .degraded)
            #expect(storage.detail.contains(".corrupt"))
            store.record(bench.call())
            await store.flush()
            #expect(try bench.number("SELECT count(*) FROM request_log") == 1)
            store.close()
        }
        for name in ["queue.db.corrupt", "queue.db.1.corrupt", "queue.db.2.corrupt"] { #expect(bench.exists(name)) }
        #expect(!bench.exists("queue.db-wal"))
    }

    @Test("damage inside the file is found at the start after anything but our own clean stop")
    func damaged() throws {
        let store = try bench.open(bench.settings(rowsPerSecond: 100_000))
        for _ in 0..<2_000 { store.record(bench.call()) }
        store.close()
        for page in 5..<20 {
            bench.overwrite(bench.database, at: page * 4_096, with: Array(repeating: 0xA5, count: 3_000))
        }
        bench.overwrite(bench.database + "-wal", at: 0, with: [1, 2, 3])
        let again = try bench.open()
        #expect(again.components()[0].status == .degraded)
        #expect(bench.exists("queue.db.corrupt"))
        #expect(bench.exists("queue.db-wal.corrupt"))
        #expect(try bench.number("SELECT count(*) FROM request_log") == 0)
        again.close()
    }

    @Test("a file of a later version is refused and left as it is")
    func newer() throws {
        try bench.open().close()
        try Connection(path: bench.database).execute("PRAGMA user_version = 7")
        let before = bench.files("/queue.db")
        #expect(throws: StoreError.newerSchema(found: 7, known: 3, file: bench.database)) { _ = try bench.open() }
        #expect(bench.files("/queue.db") == before)
        #expect(!bench.exists("queue.db.corrupt"))
    }

    @Test("somebody else's database is refused and left as it is")
    func foreign() throws {
        #expect(StoreBench.run(["/bin/mkdir", "-p", bench.directory]).status == 0)
        bench.overwrite(bench.database, at: 0, with: [])
        try Connection(path: bench.database).execute("CREATE TABLE recipes (name TEXT)")
        let before = bench.files("/queue.db")
        #expect(throws: StoreError.self) { _ = try bench.open() }
        #expect(bench.files("/queue.db") == before)
    }

    @Test("a full database costs rows, which are counted, and it recovers by itself")
    func full() async throws {
        let metrics = MetricsRegistry()
        let store = try bench.open(bench.settings(rowsPerSecond: 100_000), metrics: metrics)
        _ = await store.perform { try? $0.execute("PRAGMA max_page_count = 30") }
        for _ in 0..<3_000 { store.record(bench.call()) }
        await store.flush()
        let storage = store.components()[0]
        #expect(storage.status == .unhealthy)
        #expect(storage.detail.contains("the disk is full"))
        #expect(
            String(decoding: metrics.render(), as: UTF8.self).contains("dropped_total{table=\"request_log\"} 3000\n"))
        _ = await store.perform { try? $0.execute("PRAGMA max_page_count = 100000") }
        let isWell = await StoreBench.eventually { store.components()[0].status == .healthy }
        #expect(isWell)
        store.record(bench.call())
        await store.flush()
        #expect(try bench.number("SELECT count(*) FROM request_log") == 1)
        store.close()
    }

    @Test("an operator's open transaction delays rows, and none is lost")
    func busy() async throws {
        let store = try bench.open()
        _ = await store.perform { $0.waitForOthers(milliseconds: 20) }
        let operatorsShell = try Connection(path: bench.database)
        try operatorsShell.execute("BEGIN IMMEDIATE")
        for _ in 0..<10 { store.record(bench.call()) }
        store.add(SessionKey([7]), expires: bench.time.wallMilliseconds() + 1_000_000)
        await store.flush()
        #expect(store.components()[0].status == .degraded)
        try operatorsShell.execute("COMMIT")
        let isThere = try await StoreBench.eventually {
            try bench.number("SELECT count(*) FROM request_log") == 10
        }
        #expect(isThere)
        #expect(try bench.number("SELECT count(*) FROM session_tombstones") == 1)
        #expect(store.components()[0].status == .healthy)
        store.close()
    }

    @Test("a database that is moved away under the running gateway is noticed")
    func moved() async throws {
        let store = try bench.open()
        #expect(rename(bench.database, bench.database + ".elsewhere") == 0)
        store.record(bench.call())
        let isNoticed = await StoreBench.eventually { store.components()[0].status == .unhealthy }
        #expect(isNoticed)
        #expect(store.components()[0].detail.contains("moved or replaced"))
        store.close()
    }

    @Test("a directory that cannot be made is refused in words")
    func unusable() {
        #expect(throws: StoreError.self) {
            _ = try DurableStore.open(
                StoreSettings(directory: "/proc/nowhere"), time: bench.time, log: StoreBench.silent,
                metrics: MetricsRegistry())
        }
    }

    @Test("started as root it becomes the owner of the directory for good", .enabled(if: geteuid() == 0))
    func owner() async throws {
        let directory = bench.root
        #expect(chown(directory, 65_534, 65_534) == 0)
        await #expect(processExitsWith: .exitCode(42)) { [directory = directory as String] in
            let became = try StorageOwner.become(of: directory)
            guard became == 65_534, getuid() == 65_534, geteuid() == 65_534, setuid(0) != 0 else { exit(1) }
            try DurableStore.open(
                StoreSettings(directory: directory), time: TestTime(), log: StoreBench.silent,
                metrics: MetricsRegistry()
            ).close()
            var entry = stat()
            guard stat(directory + "/queue.db", &entry) == 0, entry.st_uid == 65_534 else { exit(2) }
            exit(42)
        }
        #expect(try StorageOwner.become(of: bench.root + "/absent") == nil)
    }
}
