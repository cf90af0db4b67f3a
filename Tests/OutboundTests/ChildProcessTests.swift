// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import NIOCore
import NIOPosix
import Outbound
import Testing

@Suite("A child and its lines")
struct ChildProcessTests {
    @Test("what is sent comes back, in order")
    func echo() async throws {
        let (child, ear) = try await start(ChildCommand(executable: "cat", environment: environment))
        for index in 0..<1000 { try child.send(line: ByteBuffer(string: "line \(index)")) }
        try await until("all lines are back") { ear.lines.count == 1000 }
        #expect(ear.lines == (0..<1000).map { "line \($0)" })
        child.stop()
        #expect(try await ear.end() == ChildExit(status: .exited(code: 0), cause: .asked))
        await child.waitUntilGone()
        #expect(!lives(child.pid) && !lives(child.keeperPid))
        #expect(throws: ChildError.ended) { try child.send(line: ByteBuffer(string: "late")) }
        #expect(ear.ends.count == 1)
    }

    @Test("large lines come back whole", arguments: [65_535, 65_536, 262_144, 3_000_000])
    func large(bytes: Int) async throws {
        let (child, ear) = try await start(
            ChildCommand(executable: "cat", environment: environment), settings { $0.pendingBytesMax = 16 << 20 })
        let line = String(repeating: "x", count: bytes)
        for _ in 0..<3 { try child.send(line: ByteBuffer(string: line)) }
        try await until("the lines are back") { ear.lines.count == 3 }
        #expect(ear.lines.allSatisfy { $0 == line })
        child.stop()
    }

    @Test("a line break inside a sent line becomes a space")
    func lineBreak() async throws {
        let (child, ear) = try await start(ChildCommand(executable: "cat", environment: environment))
        try child.send(line: ByteBuffer(string: "{\n\"a\":\n1}"))
        try await until("the line is back") { !ear.lines.isEmpty }
        #expect(ear.lines == ["{ \"a\": 1}"])
        child.stop()
    }

    @Test("CR LF, empty lines and a last line without end are understood")
    func framing() async throws {
        let (child, ear) = try await start(shell(#"printf 'a\r\n\n\r\nb\nlast'"#))
        #expect(try await ear.end() == ChildExit(status: .exited(code: 0), cause: .itself))
        #expect(ear.lines == ["a", "b", "last"])
        await child.waitUntilGone()
    }

    @Test("a child that writes a line over the limit is stopped, and the line is not passed on")
    func overlong() async throws {
        let (child, ear) = try await start(
            shell("echo good; head -c 5000 /dev/zero | tr '\\0' x; echo; echo more; sleep 1000"),
            settings { $0.lineBytesMax = 1000 })
        #expect(try await ear.end().cause == .overlongLine(bytesMax: 1000))
        #expect(ear.lines == ["good"])
        await child.waitUntilGone()
    }

    @Test("a flood on standard error does not hold the child up, and its lines are cut")
    func flood() async throws {
        let (child, ear) = try await start(
            shell("head -c 2000000 /dev/zero | tr '\\0' e >&2; echo >&2; echo after >&2; echo through; read line"),
            settings { $0.errorLineBytesMax = 100 })
        try await until("the child got through") { ear.lines == ["through"] && ear.errors.count == 2 }
        #expect(ear.errors == [String(repeating: "e", count: 100), "after"])
        child.stop()
    }

    @Test("a child that does not read is refused more than the bound")
    func backlog() async throws {
        let (child, ear) = try await start(shell("sleep 1000"), settings { $0.pendingBytesMax = 1 << 20 })
        let line = ByteBuffer(repeating: UInt8(ascii: "y"), count: 100_000)
        var sent = 0
        #expect(throws: ChildError.tooMuchUnsent(bytesMax: 1 << 20)) {
            for _ in 0..<100 {
                try child.send(line: line)
                sent += 1
            }
        }
        #expect(sent >= 10 && sent < 20)
        child.stop()
        _ = try await ear.end()
        await child.waitUntilGone()
    }

    @Test("a reader that holds back slows the child down, and everything comes when it reads on")
    func holdBack() async throws {
        let (child, ear) = try await start(shell("read go; seq 1 100000; echo done >&2; read line"))
        child.setReading(false)
        try child.send(line: ByteBuffer(string: "go"))
        // A full pipe and one read are the most that can be under way.
        try child.send(line: ByteBuffer(string: "and"))
        #expect(ear.errors.isEmpty)
        child.setReading(true)
        try await until("everything is there") { ear.lines.count == 100_000 }
        #expect(ear.lines.last == "100000")
        child.stop()
    }

    @Test("environment and working directory are the given ones and nothing else")
    func surroundings() async throws {
        var command = shell("pwd; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort")
        command.environment = ["PATH": "/usr/bin:/bin", "SECRET": "a=b c"]
        command.workingDirectory = "/usr"
        let (child, ear) = try await start(command)
        _ = try await ear.end()
        #expect(ear.lines == ["/usr", "PATH=/usr/bin:/bin", "SECRET=a=b c"])
        await child.waitUntilGone()
    }

    @Test("the child has only its three descriptors, no blocked signal, and its own group")
    func cleanStart() async throws {
        let (child, ear) = try await start(
            shell(
                """
                ls /proc/self/fd | tr '\\n' ' '; echo
                grep -E 'Sig(Blk|Ign)' /proc/self/status; cat /proc/$$/stat
                """))
        _ = try await ear.end()
        // The fourth is the listing itself.
        #expect(ear.lines.first == "0 1 2 3 ")
        // The C library keeps signals 32 and 33 to itself and leaves them ignored in what it spawns.
        let signals = ear.lines.dropFirst().prefix(2).compactMap { line in
            line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) }
        }
        #expect(signals.map { $0 & ~0x1_8000_0000 } == [0, 0])
        let fields = ear.lines.last?.split(separator: ")").last?.split(separator: " ") ?? []
        #expect(fields.count > 3 && fields[2] == "\(child.pid)" && fields[3] == "\(child.keeperPid)")
        await child.waitUntilGone()
    }
}

@Suite("Starts that are refused, in words")
struct RefusedStartTests {
    private func refusal(
        _ change: (inout ChildCommand) -> Void, _ settings: ChildSettings = settings()
    ) async -> ChildError? {
        var command = ChildCommand(executable: "cat", environment: environment)
        change(&command)
        do throws(ChildError) {
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            _ = try await ChildProcess.start(command, settings: settings, on: loop) { event in
                Issue.record("an event for a child that never was: \(event)")
            }
            return nil
        } catch { return error }
    }

    @Test("a command that is not there")
    func notFound() async throws {
        let error = await refusal { $0.executable = "no-such-command-here" }
        #expect(error == .commandNotFound("no-such-command-here"))
        #expect(error?.text.hasPrefix("command not found: no-such-command-here") == true)
    }

    @Test("a file that cannot be executed, a directory that cannot be entered, a word no process can have")
    func others() async throws {
        #expect(
            await refusal { $0.executable = "/etc/passwd" }
                == .notExecutable("/etc/passwd", reason: "Permission denied"))
        #expect(
            await refusal { $0.workingDirectory = "/no/such/place" }
                == .cannotChangeDirectory("/no/such/place", reason: "No such file or directory"))
        #expect(await refusal { $0.arguments = ["a\0b"] } == .badCommand(reason: "a word of it contains a zero byte"))
        #expect(await refusal { $0.arguments = [String(repeating: "a", count: 4 << 20)] } == .commandTooLong)
    }

    @Test("a keeper that is not there, and one that is something else")
    func keeper() async throws {
        #expect(
            await refusal({ _ in }, settings { $0.keeperExecutable = "/no/such/keeper" })
                == .keeperUnavailable(reason: "No such file or directory"))
        let ended = "it ended before it could start the command"
        #expect(
            await refusal({ _ in }, settings { $0.keeperExecutable = "/bin/true" })
                == .keeperUnavailable(reason: ended))
        var slow = settings()
        slow.keeperExecutable = "/bin/cat"
        slow.startGrace = .milliseconds(1)
        #expect(await refusal({ _ in }, slow) != nil)
    }
}
