// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// The questions that wait for a client's response, by the number they were sent under. One book for each client: what
/// another client answers under the same number is not looked at.
final class QuestionBook: Sendable {
    private struct Waiting {
        let continuation: UnsafeContinuation<QuestionOutcome, Never>
        var timer: Scheduled<Void>?
    }

    private struct State {
        var waiting: [UInt64: Waiting] = [:]
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
        let patience = TimeAmount.nanoseconds(deadline.remaining(at: time.now()).nanosecondsClamped)
        return await withTaskCancellationHandler {
            // Resumed exactly once: by whoever takes it out of `waiting`, or here when it never gets in.
            await withUnsafeContinuation { continuation in
                let isRefused = state.withLock { state in
                    guard !state.isClosed, !Task.isCancelled, state.waiting.count < Self.waitingMax else { return true }
                    state.waiting[number] = Waiting(continuation: continuation)
                    return false
                }
                if isRefused {
                    return continuation.resume(returning: .refused(code: -1, message: "The client cannot be asked."))
                }
                // Only now: a timer of no time at all must find who waits.
                let timer = loop.scheduleTask(in: patience) {
                    self.end(number, .refused(code: -1, message: "The client did not answer."))
                }
                let isWaiting = state.withLock { state in
                    state.waiting[number]?.timer = timer
                    return state.waiting[number] != nil
                }
                if isWaiting { send(message) } else { timer.cancel() }
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
        guard let waiting = state.withLock({ $0.waiting.removeValue(forKey: number) }) else { return }
        waiting.timer?.cancel()
        waiting.continuation.resume(returning: outcome)
    }

    /// A response of the client; of no interest when nobody waits for it.
    func take(_ bytes: ByteBuffer, _ message: Message) {
        let span = bytes.readableBytesUInt8Span
        guard let id = message.id, let number = UInt64(JSONText.string(span, inside: id)) else { return }
        if message.kind == .result {
            let tree = message.body.flatMap {
                // Scanned before, within the limits of its transport.
                try? JSONValue.parse(span.extracting($0), limits: WireLimits(bytesMax: .max))
            }
            return end(
                number, tree.map { .answer($0) } ?? .refused(code: -1, message: "The client's answer cannot be read."))
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
        for one in all {
            one.timer?.cancel()
            one.continuation.resume(returning: .refused(code: -1, message: "The client has left."))
        }
    }
}
