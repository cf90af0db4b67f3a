// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// The questions that wait for a client's response, by the number they were sent under. One book for each client: what
/// another client answers under the same number is not looked at.
final class QuestionBook: Sendable {
    private struct State {
        var waiting: [UInt64: UnsafeContinuation<QuestionOutcome, Never>] = [:]
        var number: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    private static let waitingMax = 64

    /// Asks with a number of its own, and waits for the response, at most until the deadline or the end of the task.
    ///
    /// - Parameter send: sends the request.
    func ask(
        _ question: Question, deadline: Deadline, loop: any EventLoop, time: any TimeSource,
        send: (ByteBuffer) -> Void
    ) async -> QuestionOutcome {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        let message = Self.message(question, number)
        let timer = loop.scheduleTask(in: .nanoseconds(deadline.remaining(at: time.now()).nanosecondsClamped)) {
            self.end(number, .refused(code: -1, message: "The client did not answer."))
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            // Resumed exactly once: by whoever takes it out of `waiting`, or here when it never gets in.
            await withUnsafeContinuation { continuation in
                let isRefused = state.withLock { state in
                    guard !state.isClosed, !Task.isCancelled, state.waiting.count < Self.waitingMax else { return true }
                    state.waiting[number] = continuation
                    return false
                }
                if isRefused {
                    return continuation.resume(returning: .refused(code: -1, message: "The client cannot be asked."))
                }
                send(message)
            }
        } onCancel: {
            self.end(number, .refused(code: -1, message: "The call this belonged to is over."))
        }
    }

    private static func message(_ question: Question, _ number: UInt64) -> ByteBuffer {
        let params = question.params.objectValue?.isEmpty == false ? #","params":\#(question.params.text)"# : ""
        return ByteBuffer(
            string: #"{"jsonrpc":"2.0","id":\#(number),"method":"\#(question.kind.rawValue)"\#(params)}"#)
    }

    private func end(_ number: UInt64, _ outcome: QuestionOutcome) {
        state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: outcome)
    }

    /// A response of the client; of no interest when nobody waits for it.
    func take(_ bytes: ByteBuffer, _ message: Message) {
        let span = bytes.readableBytesUInt8Span
        guard let id = message.id, let number = UInt64(JSONText.string(span, inside: id)) else { return }
        if message.kind == .result {
            let tree =
                message.body.flatMap {
                    // Scanned before, within the limits of its transport.
                    try? JSONValue.parse(span.extracting($0), limits: WireLimits(bytesMax: .max))
                } ?? [:]
            return end(number, .answer(tree))
        }
        let code = message.member("code", in: span).flatMap { Int(JSONText.string(span, inside: $0.value)) } ?? -1
        let text = message.member("message", in: span).flatMap {
            $0.kind == .string ? JSONText.string(span, value: $0.value) : nil
        }
        end(number, .refused(code: code, message: String((text ?? "The client refused.").prefix(500))))
    }

    /// Nobody is there to answer any more.
    func close() {
        let all = state.withLock { state in
            state.isClosed = true
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for one in all { one.resume(returning: .refused(code: -1, message: "The client has left.")) }
    }
}

/// The requests of one client that are being worked on, by their id as it was written, so that the client can take one
/// back.
final class RequestBook: Sendable {
    private let running = Mutex<[[UInt8]: @Sendable () -> Void]>([:])

    func begin(_ id: [UInt8], cancel: @escaping @Sendable () -> Void) { running.withLock { $0[id] = cancel } }

    /// True when the request has not been taken back.
    func end(_ id: [UInt8]) -> Bool { running.withLock { $0.removeValue(forKey: id) != nil } }

    var count: Int { running.withLock { $0.count } }

    /// Acts on `notifications/cancelled`. Ids nobody knows are ignored.
    func cancel(_ bytes: ByteBuffer, _ message: Message) {
        let span = bytes.readableBytesUInt8Span
        guard let id = message.member("requestId", in: span) else { return }
        running.withLock { $0.removeValue(forKey: Array(span, id.value)) }?()
    }

    func cancelAll() {
        let all = running.withLock { running in
            defer { running = [:] }
            return Array(running.values)
        }
        for cancel in all { cancel() }
    }
}
