// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore

/// What to run.
package struct ChildCommand: Sendable, Equatable {
    /// A name that is looked up in the `PATH` of `environment`, or a path; a relative path counts from
    /// `workingDirectory`.
    package var executable: String
    package var arguments: [String]
    /// The whole environment of the child: nothing is inherited.
    package var environment: [String: String]
    /// Where it runs; nil for the directory the gateway is in.
    package var workingDirectory: String?

    package init(
        executable: String, arguments: [String] = [], environment: [String: String], workingDirectory: String? = nil
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
    }
}

/// Bounds on one child.
package struct ChildSettings: Sendable, Equatable {
    /// The binary that becomes the keeper; its `main` must hand over to `csystem_keeper_main` when asked by name.
    package var keeperExecutable: String
    /// Longest line of standard output, without its end. A child that writes a longer one is stopped.
    package var lineBytesMax: Int
    /// Longest line of standard error that is passed on; the rest of the line is dropped.
    package var errorLineBytesMax: Int
    /// Most bytes that may wait for the child to read them.
    package var pendingBytesMax: Int
    /// From the end of its input to SIGTERM.
    package var endOfInputGrace: Duration
    /// From SIGTERM to SIGKILL.
    package var stopGrace: Duration
    /// From the start to the news that the command runs.
    package var startGrace: Duration
    /// How long a child may live on after it has closed its standard output.
    package var closedOutputGrace: Duration

    package init(
        keeperExecutable: String = "/proc/self/exe", lineBytesMax: Int = 4 << 20, errorLineBytesMax: Int = 4096,
        pendingBytesMax: Int = 8 << 20, endOfInputGrace: Duration = .seconds(1), stopGrace: Duration = .seconds(2),
        startGrace: Duration = .seconds(10), closedOutputGrace: Duration = .seconds(1)
    ) {
        self.keeperExecutable = keeperExecutable
        self.lineBytesMax = lineBytesMax
        self.errorLineBytesMax = errorLineBytesMax
        self.pendingBytesMax = pendingBytesMax
        self.endOfInputGrace = endOfInputGrace
        self.stopGrace = stopGrace
        self.startGrace = startGrace
        self.closedOutputGrace = closedOutputGrace
    }
}

/// What a child does that its owner may want to know.
package enum ChildEvent: Sendable {
    /// One line of standard output without its end; shares storage with its neighbours. Empty lines are not reported.
    case line(ByteBuffer)
    /// One line of standard error, cut at `errorLineBytesMax`; broken UTF-8 is repaired.
    case stderr(String)
    /// The child is gone and what it wrote has been reported. Comes once, and last.
    case ended(ChildExit)
}

/// How a child ended, and whose wish that was.
package struct ChildExit: Sendable, Equatable {
    package enum Status: Sendable, Equatable {
        case exited(code: Int32)
        case signalled(Int32)
        /// Its keeper was killed, and it with it.
        case unknown
    }

    package enum Cause: Sendable, Equatable {
        /// It left by itself.
        case itself
        /// `stop()` was called.
        case asked
        /// It was stopped: a line longer than `lineBytesMax`.
        case overlongLine(bytesMax: Int)
        /// It was stopped: it lived on with its standard output closed.
        case closedOutput
        /// Somebody killed the keeper.
        case keeperLost
    }

    package var status: Status
    package var cause: Cause

    package init(status: Status, cause: Cause) {
        self.status = status
        self.cause = cause
    }

    /// One sentence for operators.
    package var text: String {
        let how =
            switch status {
            case .exited(let code): "it ended with exit code \(code)"
            case .signalled(let number): "it was ended by signal \(number)"
            case .unknown: "how it ended is not known"
            }
        return switch cause {
        case .itself: how
        case .asked: "it was stopped; \(how)"
        case .overlongLine(let bytesMax):
            "it was stopped because it wrote a line of more than \(bytesMax) bytes; \(how)"
        case .closedOutput: "it was stopped because it had closed its standard output; \(how)"
        case .keeperLost: "the process that watches over it was killed, and it with it; \(how)"
        }
    }
}

/// Why there is no child, or why it takes no line.
package enum ChildError: Error, Sendable, Equatable {
    case commandNotFound(String)
    case notExecutable(String, reason: String)
    case cannotChangeDirectory(String, reason: String)
    case commandTooLong
    /// Something in the command that no process can be given.
    case badCommand(reason: String)
    case cannotStart(String, reason: String)
    case keeperUnavailable(reason: String)
    /// The child does not read; nothing of this line was sent.
    case tooMuchUnsent(bytesMax: Int)
    /// The child is gone or being stopped; nothing of this line was sent.
    case ended

    /// What happened and what to do, in one line for operators.
    package var text: String {
        switch self {
        case .commandNotFound(let name):
            "command not found: \(name); install it, or give its full path, or check the PATH it is looked up in "
                + "(a script whose interpreter is missing looks the same)"
        case .notExecutable(let name, let reason):
            "the command \(name) cannot be executed: \(reason); check its permissions and its format"
        case .cannotChangeDirectory(let path, let reason):
            "cannot enter the working directory \(path): \(reason); create it or correct the setting"
        case .commandTooLong:
            "the command line and its environment together are longer than the system takes; shorten them"
        case .badCommand(let reason):
            "the command cannot be given to a process: \(reason); correct the setting"
        case .cannotStart(let name, let reason):
            "the command \(name) could not be started: \(reason)"
        case .keeperUnavailable(let reason):
            "the process that watches over children could not be started: \(reason)"
        case .tooMuchUnsent(let bytesMax):
            "the process does not read its input: more than \(bytesMax) bytes wait for it already"
        case .ended:
            "the process has ended or is being stopped"
        }
    }
}
