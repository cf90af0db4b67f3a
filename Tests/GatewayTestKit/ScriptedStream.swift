// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import MCPWire
package import NIOCore
import Synchronization

/// A client's end of one request, as a test plays it: keeps what is sent to it, and answers questions by script.
package final class ScriptedStream: ClientStream {
    package typealias Answer = @Sendable (Question) async -> QuestionOutcome

    private struct State {
        var sent: [(text: String, isVital: Bool)] = []
        var questions: [(question: Question, deadline: Deadline)] = []
        var pauses: [Duration] = []
        var asking = Duration.zero
    }

    private let state = Mutex(State())
    private let answer: Answer
    package let canAsk: Bool

    package init(
        canAsk: Bool = true,
        answer: @escaping Answer = { _ in .refused(code: -1, message: "nobody is there") }
    ) {
        self.canAsk = canAsk
        self.answer = answer
    }

    package func send(_ notification: ByteBuffer, isVital: Bool) {
        state.withLock { $0.sent.append((String(buffer: notification), isVital)) }
    }

    package func ask(_ question: Question, deadline: Deadline) async -> QuestionOutcome {
        state.withLock { $0.questions.append((question, deadline)) }
        return await answer(question)
    }

    package func timeAsking(at now: Moment) -> Duration { state.withLock { $0.asking } }

    package func pause(resumeAfter: Duration) { state.withLock { $0.pauses.append(resumeAfter) } }

    // MARK: The test's side

    package var sent: [String] { state.withLock { $0.sent.map(\.text) } }
    package var vital: [Bool] { state.withLock { $0.sent.map(\.isVital) } }
    package var messages: [JSONValue] { sent.compactMap { try? JSONValue.parse($0) } }
    package var questions: [Question] { state.withLock { $0.questions.map(\.question) } }
    package var deadlines: [Deadline] { state.withLock { $0.questions.map(\.deadline) } }
    package var pauses: [Duration] { state.withLock { $0.pauses } }
    /// Questions have waited for so long.
    package func spend(_ asking: Duration) { state.withLock { $0.asking += asking } }
}

/// A legacy session that keeps what it is told.
package final class ScriptedSession: ClientSession {
    package let key: SessionKey
    package let revision: Revision
    private let state = Mutex<(level: LogLevel?, delivered: [String])>((nil, []))

    package init(_ revision: Revision = .v2025_11_25, number: UInt8 = 1) {
        self.revision = revision
        key = SessionKey(Array(repeating: number, count: 16))
    }

    package var logLevel: LogLevel? { state.withLock { $0.level } }
    package func setLogLevel(_ level: LogLevel) { state.withLock { $0.level = level } }
    package func deliver(_ notification: ByteBuffer) {
        state.withLock { $0.delivered.append(String(buffer: notification)) }
    }

    package var delivered: [String] { state.withLock { $0.delivered } }
}

/// An owner that may ask while a call stays open, and that keeps what it is told to watch.
package final class AskingBackend: Backend {
    package let name: String
    package let route: String
    package let asksDuringCalls: Bool
    private let offered: Mutex<Offers>
    private let watched = Mutex<[(uris: Set<String>, order: Int)]>([])
    private let answer: ScriptedBackend.Answer

    package init(
        name: String, route: String = "upstream", asks: Bool = true, offers: Offers,
        answer: @escaping ScriptedBackend.Answer
    ) {
        self.name = name
        self.route = route
        asksDuringCalls = asks
        offered = Mutex(offers)
        self.answer = answer
    }

    package func offers() -> Offers { offered.withLock { $0 } }
    package func offer(_ offers: Offers) { offered.withLock { $0 = offers } }
    package func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer { try await answer(call) }
    package func watch(_ uris: Set<String>, order: Int) async { watched.withLock { $0.append((uris, order)) } }

    /// What it was told to watch, in the order of the telling.
    package var watches: [Set<String>] { watched.withLock { $0.map(\.uris) } }
    package var orders: [Int] { watched.withLock { $0.map(\.order) } }
}

extension CallAnswer {
    /// The result that `json` is, also one that asks first.
    package static func of(_ json: String) throws(CallFailure) -> CallAnswer {
        let payload: Payload
        do throws(WireError) { payload = try .of(json) } catch { throw .garbage(detail: error.text) }
        let tree = try? JSONValue.parse(json)
        switch tree?["resultType"]?.stringValue {
        case "input_required": return .inputRequired(payload)
        case "task": return .task(payload)
        default: return .result(payload)
        }
    }

    /// The error that `json` is.
    package static func error(_ json: String) throws(CallFailure) -> CallAnswer {
        do throws(WireError) { return .protocolError(try .of(json)) } catch { throw .garbage(detail: error.text) }
    }
}
