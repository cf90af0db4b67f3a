// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import GatewayCore

/// What servers ask, and what is an answer to it.
@Suite("Questions") struct QuestionTests {
    @Test("Three methods ask a client something, and no other")
    func methods() {
        for (method, kind) in [
            ("sampling/createMessage", Question.Kind.sampling), ("elicitation/create", .elicitation),
            ("roots/list", .roots),
        ] {
            #expect(Question(method: method, params: nil) == Question(kind: kind, params: [:]))
            #expect(Question(method: method, params: ["a": 1])?.params.text == #"{"a":1}"#)
        }
        for method in ["", "ping", "tools/call", "Roots/list", "roots/list ", "elicitation", "sampling/createmessage"] {
            #expect(Question(method: method, params: nil) == nil, "\(method)")
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let kind: Question.Kind
        var params = "{}"
        let response: String
        let isAnswer: Bool
        var testDescription: String { "\(kind.rawValue) \(params): \(response)" }

        init(_ kind: Question.Kind, _ response: String, _ isAnswer: Bool, _ params: String = "{}") {
            (self.kind, self.params, self.response, self.isAnswer) = (kind, params, response, isAnswer)
        }
    }

    static let roots: [Case] = [
        Case(.roots, #"{"roots":[]}"#, true), Case(.roots, #"{"roots":[{"uri":"file:///a"}],"x":1}"#, true),
        Case(.roots, "{}", false), Case(.roots, #"{"roots":{}}"#, false), Case(.roots, #"{"roots":null}"#, false),
        Case(.roots, #"[{"roots":[]}]"#, false), Case(.roots, "null", false),
    ]

    static let sampling: [Case] = [
        Case(.sampling, #"{"role":"assistant","content":{"type":"text","text":"x"},"model":"m"}"#, true),
        Case(.sampling, #"{"role":"assistant","content":[]}"#, true), Case(.sampling, "{}", false),
        Case(.sampling, #"{"role":"assistant"}"#, false), Case(.sampling, #"{"content":{}}"#, false),
        Case(.sampling, #"{"role":5,"content":{}}"#, false), Case(.sampling, #"{"role":"a","content":"x"}"#, false),
        Case(.sampling, #"{"role":"a","content":null}"#, false), Case(.sampling, "[]", false),
    ]

    private static let page = #"{"mode":"url","url":"https://a/"}"#

    static let elicitation: [Case] = [
        Case(.elicitation, #"{"action":"accept","content":{}}"#, true),
        Case(.elicitation, #"{"action":"accept","content":{"a":1}}"#, true, #"{"mode":"form"}"#),
        Case(.elicitation, #"{"action":"accept"}"#, false),
        Case(.elicitation, #"{"action":"accept","content":[]}"#, false),
        Case(.elicitation, #"{"action":"accept","content":null}"#, false),
        Case(.elicitation, #"{"action":"accept"}"#, true, page), Case(.elicitation, #"{"action":"decline"}"#, true),
        Case(.elicitation, #"{"action":"cancel"}"#, true), Case(.elicitation, #"{"action":"decline"}"#, true, page),
        Case(.elicitation, #"{"action":"Accept","content":{}}"#, false),
        Case(.elicitation, #"{"action":"yes","content":{}}"#, false), Case(.elicitation, #"{"action":1}"#, false),
        Case(.elicitation, #"{"content":{}}"#, false), Case(.elicitation, "{}", false, page),
        Case(.elicitation, #""accept""#, false, page),
    ]

    @Test("A response answers when it has the form of what was asked", arguments: roots + sampling + elicitation)
    func isAnswered(_ one: Case) throws {
        let question = Question(kind: one.kind, params: try JSONValue.parse(one.params))
        #expect(question.isAnswered(by: try JSONValue.parse(one.response)) == one.isAnswer)
    }
}
