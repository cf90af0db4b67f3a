// Licensed under the Apache License 2.0; see LICENSE.

package import NIOCore

/// A command that runs under a keeper, its standard streams in our hands, line by line.
///
/// It has a process group of its own, and neither it nor anything it starts outlives the gateway, even when the
/// gateway is killed: the keeper sees the gateway's end and takes them down. Standard error is always drained.
/// Letting go of the last reference stops the child. Costs two processes, one event loop's attention and four
/// descriptors.
package final class ChildProcess: Sendable {
    package let loop: any EventLoop
    /// The child, which is also the number of its process group.
    package let pid: Int32
    package let keeperPid: Int32

    private let core: NIOLoopBound<ChildCore>
    private let backlog: ChildBacklog
    private let gone: EventLoopFuture<Void>

    init(_ core: ChildCore, pid: Int32) {
        loop = core.loop
        self.pid = pid
        keeperPid = core.keeper
        self.core = NIOLoopBound(core, eventLoop: core.loop)
        backlog = core.backlog
        gone = core.gone.futureResult
    }

    deinit {
        guard backlog.isOpen else { return }
        let core = core
        loop.execute { core.value.stop(.asked) }
    }

    /// Starts a command and waits until it runs, at most `startGrace`.
    ///
    /// `onEvent` is called on `loop`, never at the same time as itself; it may be called before this returns when the
    /// child speaks at once, and is not called when this throws. The start takes about a millisecond of the calling
    /// thread.
    package static func start(
        _ command: ChildCommand, settings: ChildSettings = ChildSettings(), on loop: any EventLoop,
        onEvent: @escaping @Sendable (ChildEvent) -> Void
    ) async throws(ChildError) -> ChildProcess {
        let handles = try KeeperLaunch.start(command, settings)
        let result: Result<ChildProcess, ChildError> = await withCheckedContinuation { continuation in
            loop.execute {
                let core = ChildCore(command, settings, handles, on: loop, onEvent: onEvent)
                core.open { continuation.resume(returning: $0) }
            }
        }
        return try result.get()
    }

    /// Sends one line; its end is added, and a line break inside, which JSON has only as white space, becomes a
    /// space.
    ///
    /// Returns at once, in the order of the calls; whether the child ever reads the line is not known. Refuses when
    /// more than `pendingBytesMax` would wait, and when the child has ended. Cheapest on `loop`.
    package func send(line: ByteBuffer) throws(ChildError) {
        let bytes = line.readableBytes + 1
        try backlog.admit(bytes)
        if loop.inEventLoop {
            core.value.write(line, admitted: bytes)
        } else {
            loop.execute { [core] in core.value.write(line, admitted: bytes) }
        }
    }

    /// Holds back reading standard output, or takes it up again; the child is slowed down by its full pipe. What has
    /// been read already is still reported, and everything is read once the child ends.
    package func setReading(_ isReading: Bool) {
        onLoop { $0.setReading(isReading) }
    }

    /// Ends the child: its input is closed, after `endOfInputGrace` it gets SIGTERM, after `stopGrace` SIGKILL, its
    /// group and all its descendants as well. Returns at once; a second call does nothing. `ended` follows.
    package func stop() {
        onLoop { $0.stop(.asked) }
    }

    /// Returns when the child, its descendants and its keeper are gone and nothing of them is held. Bounded by the
    /// graces and five seconds for the kernel to kill, once the child has ended or is being stopped.
    package func waitUntilGone() async {
        // The promise is never failed.
        try? await gone.get()
    }

    private func onLoop(_ body: @escaping @Sendable (ChildCore) -> Void) {
        if loop.inEventLoop {
            body(core.value)
        } else if backlog.isOpen {
            // A child that has ended or is being stopped needs no orders, and its loop may be gone.
            loop.execute { [core] in body(core.value) }
        }
    }
}
