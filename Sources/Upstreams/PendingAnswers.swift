// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// Requests whose answers come on one common stream and find their way by number.
final class PendingAnswers: @unchecked Sendable {
    // Everything mutable is confined to `loop`; needs no lock.
    typealias Continuation = UnsafeContinuation<Result<WireAnswer, CallFailure>, Never>

    private struct Waiter {
        let continuation: Continuation
        let began: Moment
        let deadline: Deadline
        let hearing: Hearing?
        let giveUp: @Sendable (CallFailure) -> Void
        var timer: Scheduled<Void>
    }

    private let loop: any EventLoop
    private let time: any TimeSource
    private var waiting: [UInt64: Waiter] = [:]

    private static let waitingMax = 1_024

    init(loop: any EventLoop, time: any TimeSource) {
        self.loop = loop
        self.time = time
    }

    /// Sends and waits for the answer.
    ///
    /// - Parameters:
    ///   - send: hands the request over, on `loop`; throws what keeps it from being sent.
    ///   - giveUp: called on `loop` when nobody waits any more, so that the server can be told.
    func exchange(
        _ id: UInt64, deadline: Deadline, hearing: Hearing?,
        send: @escaping @Sendable () throws(CallFailure) -> Void, giveUp: @escaping @Sendable (CallFailure) -> Void
    ) async throws(CallFailure) -> WireAnswer {
        if Task.isCancelled { throw .cancelled }
        let result: Result<WireAnswer, CallFailure> = await withTaskCancellationHandler {
            // Resumed exactly once: by whoever takes it out of `waiting`, or by `begin` when it never gets in.
            await withUnsafeContinuation { continuation in
                let begin: @Sendable () -> Void = {
                    self.begin(id, deadline, hearing, send, giveUp, continuation)
                }
                if loop.inEventLoop { begin() } else { loop.execute(begin) }
                // A cancellation that came before it was begun found nothing to end.
                if Task.isCancelled { loop.execute { self.end(id, .cancelled) } }
            }
        } onCancel: {
            loop.execute { self.end(id, .cancelled) }
        }
        return try result.get()
    }

    private func begin(
        _ id: UInt64, _ deadline: Deadline, _ hearing: Hearing?, _ send: @Sendable () throws(CallFailure) -> Void,
        _ giveUp: @escaping @Sendable (CallFailure) -> Void, _ continuation: Continuation
    ) {
        guard !deadline.hasPassed(at: time.now()) else {
            return continuation.resume(returning: .failure(.timedOut(after: .zero, sent: false)))
        }
        guard waiting.count < Self.waitingMax else {
            let words = "\(Self.waitingMax) calls wait for its server already"
            return continuation.resume(returning: .failure(.overloaded(detail: words, retryAfter: 1)))
        }
        do throws(CallFailure) {
            try send()
        } catch {
            return continuation.resume(returning: .failure(error))
        }
        let now = time.now()
        waiting[id] = Waiter(
            continuation: continuation, began: now, deadline: deadline, hearing: hearing, giveUp: giveUp,
            timer: timer(id, after: deadline.remaining(at: now)))
    }

    private func timer(_ id: UInt64, after patience: Duration) -> Scheduled<Void> {
        loop.scheduleTask(in: .nanoseconds(patience.nanosecondsClamped)) { self.ring(id) }
    }

    /// The time is over, unless somebody was asked something meanwhile.
    private func ring(_ id: UInt64) {
        guard let waiter = waiting[id] else { return }
        let now = time.now()
        let extra = waiter.hearing?.extraTime(now) ?? .zero
        let rest = Deadline(waiter.deadline.moment + extra).remaining(at: now)
        if extra > .zero, rest > .zero {
            waiting[id]?.timer = timer(id, after: rest)
        } else {
            end(id, .timedOut(after: now.since(waiter.began), sent: true))
        }
    }

    private func end(_ id: UInt64, _ failure: CallFailure) {
        guard let waiter = waiting.removeValue(forKey: id) else { return }
        waiter.timer.cancel()
        waiter.giveUp(failure)
        waiter.continuation.resume(returning: .failure(failure))
    }

    // MARK: Called on the loop

    /// A response has come; whoever waits for its number gets it.
    func take(_ bytes: ByteBuffer, _ message: Message, session: String? = nil) {
        guard let range = message.id, let id = UInt64(JSONText.string(bytes.readableBytesUInt8Span, inside: range)),
            let waiter = waiting.removeValue(forKey: id)
        else { return }
        waiter.timer.cancel()
        waiter.continuation.resume(
            returning: .success(WireAnswer(status: 200, bytes: bytes, message: message, session: session)))
    }

    /// Nothing will come on the stream for this one: it has ended otherwise.
    func settle(_ id: UInt64, _ result: Result<WireAnswer, CallFailure>) {
        guard let waiter = waiting.removeValue(forKey: id) else { return }
        waiter.timer.cancel()
        waiter.continuation.resume(returning: result)
    }

    /// Nothing will come any more.
    func failAll(_ failure: CallFailure) {
        let all = waiting
        waiting = [:]
        for waiter in all.values {
            waiter.timer.cancel()
            waiter.continuation.resume(returning: .failure(failure))
        }
    }
}
