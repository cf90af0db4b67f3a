// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc

/// What another program prints, for the few facts that only it knows.
enum CommandOutput {
    private static let bytesMax = 64 << 10

    /// Runs a program of the machine and returns what it printed; nil when there is no such program, when it does not
    /// end in time, or when it fails.
    ///
    /// - Parameter command: an absolute path, then arguments.
    static func of(_ command: [String], within patience: Duration = .seconds(3)) -> String? {
        guard let program = command.first, unsafe access(program, X_OK) == 0 else { return nil }
        var sides: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &sides) == 0 else { return nil }
        let (reading, writing) = (sides[0], sides[1])
        defer { close(reading) }
        let started = start(program, command, output: writing)
        close(writing)
        guard let child = started else { return nil }
        let ends = Deadline(SystemTime().now() + patience)
        let text = read(reading, until: ends)
        // One that has closed its output and lives on has not ended in time either.
        guard text != nil, let status = status(of: child, until: ends) else {
            kill(child, SIGKILL)
            while waitpid(child, nil, 0) < 0 && errno == EINTR {}
            return nil
        }
        return status == 0 ? text : nil
    }

    /// nil while it runs on.
    private static func status(of child: pid_t, until ends: Deadline) -> Int32? {
        let time = SystemTime()
        var status: Int32 = 0
        repeat {
            if unsafe waitpid(child, &status, WNOHANG) == child { return status }
            _ = poll(nil, 0, 5)
        } while !ends.hasPassed(at: time.now())
        return nil
    }

    private static func start(_ program: String, _ command: [String], output: Int32) -> pid_t? {
        var actions = unsafe posix_spawn_file_actions_t()
        guard unsafe posix_spawn_file_actions_init(&actions) == 0 else { return nil }
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        let arguments = unsafe command.map(Self.copied)
        let environment = unsafe ["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"].map(Self.copied)
        let texts = unsafe arguments + environment
        defer { for index in unsafe texts.indices { unsafe free(texts[index]) } }
        var child: pid_t = 0
        let failed = unsafe posix_spawn(&child, program, &actions, nil, arguments + [nil], environment + [nil])
        return failed == 0 ? child : nil
    }

    private static func copied(_ text: String) -> UnsafeMutablePointer<CChar>? { unsafe strdup(text) }

    /// Until the end; nil when that does not come in time, or when there is more than anybody wants.
    private static func read(_ descriptor: Int32, until ends: Deadline) -> String? {
        let time = SystemTime()
        var out: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4_096)
        while out.count <= bytesMax {
            let left = ends.remaining(at: time.now())
            guard left > .zero else { return nil }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard unsafe poll(&waiting, 1, Int32(left.milliseconds.rounded(.up))) > 0 else { continue }
            let count = unsafe piece.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? String(decoding: out, as: UTF8.self) : nil }
            out += piece[..<count]
        }
        return nil
    }
}
