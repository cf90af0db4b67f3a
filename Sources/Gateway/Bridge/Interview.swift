// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The questions of an owner of the stateless era, as it put them into a result.
struct Interview: Sendable {
    struct Entry: Sendable {
        let key: String
        /// nil when it asks something that nobody may be asked.
        let question: Question?
    }

    let entries: [Entry]
    /// Neither a question nor a state to come back with: that is no answer.
    var isEmpty: Bool { entries.isEmpty && state == nil }
    /// The JSON text of `inputRequests`, as it stands.
    let requests: String?
    /// The owner's state as a JSON string with quotes.
    let state: [UInt8]?

    init(_ payload: Payload) {
        let bytes = payload.bytes.readableBytesUInt8Span
        state = payload.member("requestState").flatMap { $0.kind == .string ? Array(bytes, $0.value) : nil }
        guard let member = payload.member("inputRequests"), let tree = payload.tree(member) else {
            entries = []
            requests = nil
            return
        }
        requests = payload.slice(member.value).map { String(buffer: $0) }
        entries = (tree.objectValue ?? []).map { key, value in
            let question = value["method"]?.stringValue.flatMap { Question(method: $0, params: value["params"]) }
            return Entry(key: key, question: question)
        }
    }

    enum Conducted {
        /// The JSON text of `inputResponses`.
        case answers([UInt8])
        case refused(String)
    }

    /// Asks everything, one after the other: a person reads one question at a time.
    func conduct(_ conversation: CallConversation?) async -> Conducted {
        guard let conversation else { return .refused("it asks for input, and this client cannot be asked here") }
        var answers: [(key: String, value: JSONValue)] = []
        for entry in entries {
            guard let question = entry.question else { return .refused("it asks for something no client knows") }
            switch await conversation.ask(question) {
            case .answer(let answer): answers.append((entry.key, answer))
            case .refused(let code, let message): return .refused("\(question.kind.rawValue): \(message) (\(code))")
            }
        }
        var json: [UInt8] = []
        JSONValue.object(answers).write(to: &json)
        return .answers(json)
    }
}

/// The way in which servers of 2025-11-25 ask for a visit of a web page: an error -32042 that lists the pages. When the
/// client has been there, the call is made anew.
struct URLInterview: Sendable {
    let requests: String

    init?(_ error: Payload) {
        guard let code = error.member("code").flatMap(error.tree), code.intValue == -32042,
            let pages = error.member("data").flatMap(error.tree)?["elicitations"]?.arrayValue, !pages.isEmpty
        else { return nil }
        let entries = pages.enumerated().map { index, page in
            let question = Question(kind: .elicitation, params: page.with("mode", "url"))
            return (key: "elicitation-\(index + 1)", value: question.inputRequest)
        }
        requests = JSONValue.object(entries).text
    }
}
