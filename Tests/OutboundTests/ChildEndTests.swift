// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import NIOCore
import Outbound
import Testing

@Suite("How children end")
struct ChildEndTests {
    @Test(
        "exit codes and signals are told apart",
        arguments: [
            ("exit 3", ChildExit.Status.exited(code: 3)), ("kill -SEGV $$", .signalled(SIGSEGV)),
            ("kill -TERM $$", .signalled(SIGTERM)),
        ])
    func crash(script: String, status: ChildExit.Status) async throws {
        let (child, ear) = try await start(shell("echo before; echo words >&2; \(script)"))
        #expect(try await ear.end() == ChildExit(status: status, cause: .itself))
        #expect(ear.lines == ["before"] && ear.errors == ["words"])
        await child.waitUntilGone()
    }

    @Test("a child that closes its standard output and lives on is stopped")
    func closedOutput() async throws {
        let (child, ear) = try await start(shell("exec >&-; sleep 1000"))
        #expect(try await ear.end().cause == .closedOutput)
        await child.waitUntilGone()
        #expect(!lives(child.pid))
    }

    @Test("a child that leaves at the end of its input gets no signal")
    func leavesByItself() async throws {
        let (child, ear) = try await start(
            shell("trap 'exit 9' TERM; while read line; do :; done; exit 4"),
            settings { $0.endOfInputGrace = .seconds(20) })
        child.stop()
        child.stop()
        #expect(try await ear.end() == ChildExit(status: .exited(code: 4), cause: .asked))
        await child.waitUntilGone()
    }

    @Test("a child that ignores SIGTERM is killed")
    func stubborn() async throws {
        let (child, ear) = try await start(shell("trap '' TERM; echo ready; while :; do sleep 1; done"))
        try await until("it is ready") { ear.lines == ["ready"] }
        child.stop()
        #expect(try await ear.end() == ChildExit(status: .signalled(SIGKILL), cause: .asked))
        await child.waitUntilGone()
        #expect(!lives(child.pid) && !lives(child.keeperPid))
    }

    @Test("a stopped process is ended as well")
    func asleep() async throws {
        let (child, ear) = try await start(shell("kill -STOP $$"))
        child.stop()
        #expect(try await ear.end() == ChildExit(status: .signalled(SIGTERM), cause: .asked))
        await child.waitUntilGone()
    }

    /// A grandchild in the group, one in a session of its own, and one that has lost its parent and ignores SIGTERM.
    private static let family = """
        sleep 1000 & echo $!
        setsid sh -c 'echo $$; exec sleep 1000' &
        (setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' &)
        """

    @Test("all descendants die with a stopped child")
    func descendants() async throws {
        let (child, ear) = try await start(shell(Self.family + "\nwait"))
        try await until("the family is there") { ear.lines.count == 3 }
        let pids = ear.lines.compactMap { Int32($0) } + [child.pid, child.keeperPid]
        #expect(pids.count == 5 && pids.allSatisfy(lives))
        child.stop()
        await child.waitUntilGone()
        #expect(pids.filter(lives) == [])
    }

    @Test("all descendants die after a child that left by itself")
    func leftovers() async throws {
        let (child, ear) = try await start(shell(Self.family + "\nread line; exit 5"))
        try await until("the family is there") { ear.lines.count == 3 }
        let pids = ear.lines.compactMap { Int32($0) } + [child.pid, child.keeperPid]
        try child.send(line: ByteBuffer(string: "go"))
        #expect(try await ear.end() == ChildExit(status: .exited(code: 5), cause: .itself))
        await child.waitUntilGone()
        #expect(pids.filter(lives) == [])
    }

    @Test("a child dies with its keeper, and that is said")
    func keeperKilled() async throws {
        let (child, ear) = try await start(shell("sleep 1000 & echo $!; wait"))
        try await until("the family is there") { ear.lines.count == 1 }
        let pids = ear.lines.compactMap { Int32($0) } + [child.pid]
        kill(child.keeperPid, SIGKILL)
        #expect(try await ear.end() == ChildExit(status: .unknown, cause: .keeperLost))
        await child.waitUntilGone()
        try await until("the family is gone") { !pids.contains(where: lives) }
    }

    @Test("letting go of a child stops it")
    func letGo() async throws {
        let ear: Ear
        let pid: Int32
        do {
            let (child, itsEar) = try await start(ChildCommand(executable: "cat", environment: environment))
            (ear, pid) = (itsEar, child.pid)
        }
        #expect(try await ear.end() == ChildExit(status: .exited(code: 0), cause: .asked))
        try await until("it is gone") { !lives(pid) }
    }

    @Test("nothing of a family outlives its gateway, even when that is killed with -9")
    func gatewayKilled() async throws {
        let gateway = try BareProbe("hold")
        let pids = try await gateway.lines(6).compactMap { Int32($0) }
        #expect(pids.count == 5 && pids.allSatisfy(lives))
        gateway.end(signal: SIGKILL)
        try await until("the family is gone") { !pids.contains(where: lives) }
    }

    @Test("the keeper goes by its own name, and not by the gateway's")
    func name() async throws {
        let (child, ear) = try await start(ChildCommand(executable: "cat", environment: environment))
        #expect(contents("/proc/\(child.keeperPid)/comm") == "mcpgw-keeper\n")
        #expect(contents("/proc/\(child.keeperPid)/cmdline")?.hasPrefix("mcpgw-keeper\0") == true)
        for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE] { kill(child.keeperPid, signal) }
        try child.send(line: ByteBuffer(string: "still here"))
        try await until("the child answers") { ear.lines == ["still here"] }
        #expect(lives(child.keeperPid))
        child.stop()
        await child.waitUntilGone()
    }

    @Test("fifty starts leave no descriptor and no zombie")
    func nothingIsLeft() async throws {
        let gateway = try BareProbe("count")
        let counts = try await gateway.lines(1).first?.split(separator: " ").compactMap { Int($0) } ?? []
        gateway.end(signal: SIGTERM)
        try #require(counts.count == 3)
        #expect(counts[1] <= counts[0])
        #expect(counts[2] == 0)
    }
}
