// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import NIOCore
import NIOPosix

/// One child as its event loop sees it: four channels and what has been heard so far. Lives on the loop; the channels
/// hold it.
final class ChildCore {
    typealias Started = (Result<ChildProcess, ChildError>) -> Void

    /// How long output is waited for that others still hold open after the child has ended.
    private static let lastWordsGrace = TimeAmount.milliseconds(200)
    /// Tries to reap a keeper that has closed its socket; at most a second apart.
    private static let reapAttemptsMax = 40
    private static let lineEnd = ByteBuffer(integer: UInt8(ascii: "\n"))

    let loop: any EventLoop
    let keeper: Int32
    let backlog: ChildBacklog
    let gone: EventLoopPromise<Void>

    private let command: ChildCommand
    private let settings: ChildSettings
    private let handles: KeeperLaunch.Handles
    private let onEvent: (ChildEvent) -> Void

    private var control: (any Channel)?
    private var input: (any Channel)?
    private var output: (any Channel)?
    private var errors: (any Channel)?
    private var outputHasEnded = false
    private var errorsHaveEnded = false

    /// Who waits for the start; nil once answered.
    private var onStart: Started?
    private var startTimer: Scheduled<Void>?
    private var child: Int32 = 0
    private var status: ChildExit.Status?
    private var cause: ChildExit.Cause?
    private var isStopping = false
    private var hasReportedEnd = false
    /// What was heard before the start was answered; no more than the pipes hold, as nothing is read on purpose until
    /// then.
    private var early: [ChildEvent] = []

    init(
        _ command: ChildCommand, _ settings: ChildSettings, _ handles: KeeperLaunch.Handles, on loop: any EventLoop,
        onEvent: @escaping (ChildEvent) -> Void
    ) {
        self.command = command
        self.settings = settings
        self.handles = handles
        self.loop = loop
        self.onEvent = onEvent
        keeper = handles.keeper
        backlog = ChildBacklog(bytesMax: settings.pendingBytesMax)
        gone = loop.makePromise()
    }

    // MARK: Start

    /// Puts the pipes on the loop and answers when the command runs or is known not to.
    func open(_ started: @escaping Started) {
        onStart = started
        startTimer = after(TimeAmount(settings.startGrace)) { core in
            core.refuseStart(.keeperUnavailable(reason: "it did not answer within \(core.settings.startGrace)"))
        }
        let core = NIOLoopBound(self, eventLoop: loop)
        let opened = [
            open(handles.input, { $0.takingOwnershipOfDescriptor(output: $1) }, handlers: { _ in [] })
                .map { core.value.input = $0 },
            open(handles.output, { $0.takingOwnershipOfDescriptor(input: $1) }, handlers: { [$0.outputReader()] })
                .map { core.value.output = $0 },
            open(handles.errors, { $0.takingOwnershipOfDescriptor(input: $1) }, handlers: { [$0.errorReader()] })
                .map { core.value.errors = $0 },
            openControl().map { core.value.control = $0 },
        ]
        EventLoopFuture.andAllComplete(opened, on: loop).whenComplete { _ in core.value.wasOpened() }
    }

    /// A loop that is shutting down takes no channel. The keeper then sees our end closed and cleans up.
    private func wasOpened() {
        guard input != nil, output != nil, errors != nil, control != nil else {
            refuseStart(.keeperUnavailable(reason: "its pipes could not be watched; the gateway may be stopping"))
            closeStreams()
            if control == nil { reap(attempt: 0) }
            return
        }
        // It may have ended, or been told to, before all was in place.
        if isStopping { tellKeeperToStop() }
        startReading()
        if hasReportedEnd { closeStreams() }
    }

    private func open(
        _ descriptor: Int32, _ take: (NIOPipeBootstrap, Int32) -> EventLoopFuture<any Channel>,
        handlers: @escaping @Sendable (ChildCore) -> [any ChannelHandler]
    ) -> EventLoopFuture<any Channel> {
        let core = NIOLoopBound(self, eventLoop: loop)
        let quiet = NIOPipeBootstrap(group: loop).channelOption(.autoRead, value: false)
        let bootstrap = quiet.channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers(handlers(core.value))
            }
        }
        return closingOnFailure(descriptor, take(bootstrap, descriptor))
    }

    private func openControl() -> EventLoopFuture<any Channel> {
        let core = NIOLoopBound(self, eventLoop: loop)
        let bootstrap = ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                let core = core.value
                try channel.pipeline.syncOperations.addHandler(
                    KeeperControl(onReport: { core.heard($0) }, onEnd: { core.keeperHasEnded() }))
            }
        }
        return closingOnFailure(handles.control, bootstrap.withConnectedSocket(handles.control))
    }

    private func closingOnFailure(
        _ descriptor: Int32, _ channel: EventLoopFuture<any Channel>
    ) -> EventLoopFuture<any Channel> {
        channel.flatMapErrorThrowing { error in
            Glibc.close(descriptor)
            throw error
        }
    }

    private func outputReader() -> LineReader {
        LineReader(
            LineCutter(bytesMax: settings.lineBytesMax, overlong: .refuse),
            onLine: { [self] in report(.line($0)) },
            onRefused: { [self] in stop(.overlongLine(bytesMax: settings.lineBytesMax)) },
            onEnd: { [self] in outputEnded() })
    }

    private func errorReader() -> LineReader {
        LineReader(
            LineCutter(bytesMax: settings.errorLineBytesMax, overlong: .cut),
            onLine: { [self] in report(.stderr(String(buffer: $0))) },
            onRefused: {},
            onEnd: { [self] in errorsEnded() })
    }

    private func answerStart(_ result: Result<ChildProcess, ChildError>) {
        startTimer?.cancel()
        startTimer = nil
        let answer = onStart
        onStart = nil
        answer?(result)
    }

    private func refuseStart(_ error: ChildError) {
        guard onStart != nil else { return }
        // Nobody is to hear of a child that never was.
        hasReportedEnd = true
        // Answered before the keeper is told, which may be found gone at that and would be the reason then.
        answerStart(.failure(error))
        stop(.asked)
    }

    // MARK: What the keeper says

    private func heard(_ news: KeeperControl.Report) {
        switch news {
        case .started(let child):
            self.child = child
            guard onStart != nil else { return }
            answerStart(.success(ChildProcess(self, pid: child)))
            for event in early { onEvent(event) }
            early = []
            startReading()
        case .refused(let problem, let step):
            refuseStart(KeeperLaunch.refusal(of: command, problem: problem, step: step))
        case .exited(let status):
            childHasEnded(status)
        }
    }

    private func childHasEnded(_ status: ChildExit.Status) {
        guard self.status == nil else { return }
        self.status = status
        backlog.close()
        input?.close(promise: nil)
        setReading(true)
        if outputHasEnded, errorsHaveEnded { reportEnd() }
        after(Self.lastWordsGrace) { $0.reportEnd() }
    }

    /// The socket is closed: all is over. When no exit was reported, somebody has killed the keeper; then the child
    /// was killed with it, and what may be left of its group is ours to kill.
    private func keeperHasEnded() {
        refuseStart(.keeperUnavailable(reason: "it ended before it could start the command"))
        if status == nil {
            if child > 0 { kill(-child, SIGKILL) }
            if cause == nil { cause = .keeperLost }
            childHasEnded(.unknown)
        }
        reap(attempt: 0)
    }

    private func reap(attempt: Int) {
        let reaped = waitpid(keeper, nil, WNOHANG)
        guard reaped == 0, attempt < Self.reapAttemptsMax else { return gone.succeed() }
        let pause = after(.milliseconds(attempt < 10 ? 1 << Int64(attempt) : 1000)) { $0.reap(attempt: attempt + 1) }
        // A loop that is shutting down runs nothing any more; the gateway's own end leaves no zombie either.
        let gone = gone
        pause.futureResult.whenFailure { _ in gone.succeed() }
    }

    // MARK: What the child says

    private func report(_ event: ChildEvent) {
        if hasReportedEnd { return }
        if onStart == nil { onEvent(event) } else { early.append(event) }
    }

    private func outputEnded() {
        outputHasEnded = true
        if status == nil {
            after(TimeAmount(settings.closedOutputGrace)) { core in
                if core.status == nil { core.stop(.closedOutput) }
            }
        } else if errorsHaveEnded {
            reportEnd()
        }
    }

    private func errorsEnded() {
        errorsHaveEnded = true
        if status != nil, outputHasEnded { reportEnd() }
    }

    private func reportEnd() {
        guard let status else { return }
        report(.ended(ChildExit(status: status, cause: cause ?? .itself)))
        hasReportedEnd = true
        closeStreams()
    }

    private func closeStreams() {
        backlog.close()
        for channel in [input, output, errors] { channel?.close(promise: nil) }
    }

    // MARK: Orders

    func write(_ line: ByteBuffer, admitted bytes: Int) {
        guard let input, !isStopping else { return backlog.release(bytes) }
        let written = loop.makePromise(of: Void.self)
        let backlog = backlog
        written.futureResult.whenComplete { _ in backlog.release(bytes) }
        input.write(line.asOneLine(), promise: nil)
        input.writeAndFlush(Self.lineEnd, promise: written)
    }

    private func startReading() {
        guard child > 0 else { return }
        // Fails only for a channel that is closed, and then there is nothing to read; below as well.
        for channel in [output, errors] { try? channel?.syncOptions?.setOption(.autoRead, value: true) }
    }

    func setReading(_ isReading: Bool) {
        guard let output, isReading || status == nil && !isStopping else { return }
        try? output.syncOptions?.setOption(.autoRead, value: isReading)
    }

    func stop(_ cause: ChildExit.Cause) {
        guard !isStopping else { return }
        isStopping = true
        if status == nil { self.cause = self.cause ?? cause }
        backlog.close()
        input?.close(promise: nil)
        setReading(true)
        tellKeeperToStop()
    }

    /// Any byte is the order, and a second one changes nothing.
    private func tellKeeperToStop() {
        control?.writeAndFlush(ByteBuffer(integer: UInt8(ascii: "S")), promise: nil)
    }

    @discardableResult
    private func after(_ pause: TimeAmount, _ body: @escaping (ChildCore) -> Void) -> Scheduled<Void> {
        let core = NIOLoopBound(self, eventLoop: loop)
        let body = NIOLoopBound(body, eventLoop: loop)
        return loop.scheduleTask(in: pause) { body.value(core.value) }
    }
}
