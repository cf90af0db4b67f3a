// Licensed under the Apache License 2.0; see LICENSE.
//
// A process of its own for what a test cannot do in its own process: being the keeper's binary, being killed, and
// counting descriptors while nobody else opens any.

import CHost
import Glibc
import NIOCore
import NIOPosix
import Outbound

if unsafe csystem_is_keeper(CommandLine.argc, CommandLine.unsafeArgv) != 0 {
    exit(unsafe csystem_keeper_main(CommandLine.argc, CommandLine.unsafeArgv))
}

let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
let loop = MultiThreadedEventLoopGroup.singleton.next()

func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe write(1, bytes, bytes.count)
}

func names(in directory: String) -> [String] {
    guard let handle = unsafe opendir(directory) else { return [] }
    defer { unsafe closedir(handle) }
    var found: [String] = []
    while let entry = unsafe readdir(handle) {
        unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
            unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) { text in
                unsafe found.append(String(cString: text))
            }
        }
    }
    return found
}

/// Starts a family and says its pids, one a line; then waits to be killed.
func hold() async throws {
    let script = """
        sleep 1000 & echo $!
        setsid sleep 1000 & sleep 0.2; echo $!
        setsid sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' &
        sleep 0.2; echo ready; wait
        """
    let child = try await ChildProcess.start(
        ChildCommand(executable: "sh", arguments: ["-c", script], environment: environment),
        settings: ChildSettings(endOfInputGrace: .milliseconds(50), stopGrace: .milliseconds(100)), on: loop
    ) { event in
        if case .line(let line) = event { say(String(buffer: line)) }
    }
    say("\(child.pid)")
    say("\(child.keeperPid)")
    await child.waitUntilGone()
}

/// Starts and stops many children, good and bad, and says descriptors before and after, then whether
/// any child, living or zombie, is left.
func count() async throws {
    func round(_ index: Int) async throws {
        let isGood = index % 5 != 4
        let command = ChildCommand(
            executable: isGood ? "cat" : "no-such-command-here", environment: environment)
        do {
            let child = try await ChildProcess.start(command, on: loop) { _ in }
            try child.send(line: ByteBuffer(string: "hello"))
            child.stop()
            await child.waitUntilGone()
        } catch ChildError.commandNotFound {
            if isGood { throw ChildError.ended }
        }
    }
    try await round(0)
    try await round(4)
    let before = names(in: "/proc/self/fd").count
    for index in 0..<50 { try await round(index) }
    // The last refused start may still be closing its pipes and its keeper leaving; both have a deadline.
    var after = names(in: "/proc/self/fd").count
    var hasChildren = true
    for _ in 0..<1000 {
        after = names(in: "/proc/self/fd").count
        var news = unsafe siginfo_t()
        hasChildren = unsafe waitid(P_ALL, 0, &news, WEXITED | WNOHANG | WNOWAIT) == 0
        if after <= before, !hasChildren { break }
        usleep(5000)
    }
    say("\(before) \(after) \(hasChildren ? 1 : 0)")
}

/// Says the number of each signal that comes in through the descriptor, read as the daemon reads it, until USR2.
func signals() async throws {
    let descriptor = csystem_signal_descriptor()
    precondition(descriptor >= 0 && csystem_signal_descriptor() == -EALREADY)
    let channel = try await NIOPipeBootstrap(group: loop)
        .channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(SignalReader())
            }
        }
        .takingOwnershipOfDescriptor(input: descriptor).get()
    for signal in [SIGHUP, SIGUSR1, SIGTERM, SIGINT, SIGUSR2] { kill(getpid(), signal) }
    try await channel.closeFuture.get()
}

final class SignalReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        for number in unwrapInboundIn(data).readableBytesView {
            say("\(number)")
            if Int32(number) == SIGUSR2 { context.close(promise: nil) }
        }
    }
}

switch CommandLine.arguments.dropFirst().first {
case "hold": try await hold()
case "count": try await count()
case "signals": try await signals()
default: exit(64)
}
