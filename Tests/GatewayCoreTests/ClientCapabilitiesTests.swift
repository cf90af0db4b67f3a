// Licensed under the Apache License 2.0; see LICENSE.

import MCPWire
import Testing

@testable import GatewayCore

/// What a client says it can do, and what of that is said and asked where.
@Suite("Client capabilities") struct ClientCapabilitiesTests {
    static let everything: ClientCapabilities = [
        .roots, .sampling, .samplingTools, .samplingContext, .elicitationForm, .elicitationURL, .tasks,
    ]

    static let spoken: [(String, ClientCapabilities)] = [
        ("{}", []), ("null", []), ("[]", []), ("5", []), (#""roots""#, []),
        (#"{"roots":{}}"#, .roots), (#"{"roots":{"listChanged":true}}"#, .roots), (#"{"roots":true}"#, []),
        (#"{"roots":null}"#, []), (#"{"Roots":{}}"#, []),
        (#"{"sampling":{}}"#, .sampling), (#"{"sampling":[]}"#, []),
        (#"{"sampling":{"tools":{}}}"#, [.sampling, .samplingTools]),
        (#"{"sampling":{"tools":true,"context":1}}"#, .sampling),
        (#"{"sampling":{"context":{},"tools":{}}}"#, [.sampling, .samplingTools, .samplingContext]),
        (#"{"elicitation":{}}"#, .elicitationForm), (#"{"elicitation":null}"#, []),
        (#"{"elicitation":{"form":{}}}"#, .elicitationForm), (#"{"elicitation":{"url":{}}}"#, .elicitationURL),
        (#"{"elicitation":{"url":{},"form":{}}}"#, [.elicitationForm, .elicitationURL]),
        (#"{"elicitation":{"voice":{}}}"#, .elicitationForm),
        (#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#, .tasks),
        (#"{"extensions":{"io.modelcontextprotocol/tasks":true}}"#, []),
        (#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#, []), (#"{"extensions":[]}"#, []),
        (#"{"tasks":{"requests":{}}}"#, []), (#"{"experimental":{"roots":{}}}"#, []),
    ]

    @Test("What a client declares is read for what it is, and nonsense declares nothing", arguments: spoken)
    func parse(_ json: String, _ expected: ClientCapabilities) throws {
        #expect(ClientCapabilities(try JSONValue.parse(json)) == expected)
        #expect(ClientCapabilities(nil) == [])
    }

    static let limits: [(Revision, ClientCapabilities)] = [
        (.v2024_11_05, [.roots, .sampling]), (.v2025_03_26, [.roots, .sampling]),
        (.v2025_06_18, [.roots, .sampling, .elicitationForm]),
        (
            .v2025_11_25,
            [.roots, .sampling, .samplingTools, .samplingContext, .elicitationForm, .elicitationURL]
        ),
        (.v2026_07_28, everything),
    ]

    @Test("Nobody can mean what his revision does not know", arguments: limits)
    func known(_ revision: Revision, _ expected: ClientCapabilities) {
        #expect(Self.everything.known(in: revision) == expected)
        #expect(ClientCapabilities().known(in: revision) == [])
    }

    static let written: [(ClientCapabilities, Revision, String)] = [
        ([], .v2024_11_05, "{}"), ([], .v2026_07_28, "{}"),
        (everything, .v2024_11_05, #"{"roots":{},"sampling":{}}"#),
        (everything, .v2025_03_26, #"{"roots":{},"sampling":{}}"#),
        (everything, .v2025_06_18, #"{"roots":{},"sampling":{},"elicitation":{}}"#),
        (
            everything, .v2025_11_25,
            #"{"roots":{},"sampling":{"context":{},"tools":{}},"elicitation":{"form":{},"url":{}}}"#
        ),
        (
            everything, .v2026_07_28,
            #"{"roots":{},"sampling":{"context":{},"tools":{}},"elicitation":{"form":{},"url":{}},"#
                + #""extensions":{"io.modelcontextprotocol/tasks":{}}}"#
        ),
        (.elicitationURL, .v2025_03_26, "{}"), (.elicitationURL, .v2025_06_18, "{}"),
        (.elicitationURL, .v2025_11_25, #"{"elicitation":{"url":{}}}"#),
        (.elicitationForm, .v2025_06_18, #"{"elicitation":{}}"#),
        (.elicitationForm, .v2025_11_25, #"{"elicitation":{"form":{}}}"#),
        (.tasks, .v2025_11_25, "{}"),
    ]

    @Test("A server is told what its revision knows, in that revision's words", arguments: written)
    func json(_ capabilities: ClientCapabilities, _ revision: Revision, _ expected: String) {
        #expect(capabilities.json(for: revision).text == expected)
    }

    @Test("What is written for a revision is read as what that revision knows", arguments: Revision.allCases)
    func roundTrip(_ revision: Revision) {
        for bits in UInt16(0)..<128 {
            var some = ClientCapabilities(rawValue: bits)
            // There are no tools in sampling without sampling.
            if !some.contains(.sampling) { some.subtract([.samplingTools, .samplingContext]) }
            #expect(ClientCapabilities(some.json(for: revision)) == some.known(in: revision), "\(bits)")
        }
    }

    static let questions: [(String, String, ClientCapabilities, Bool)] = [
        ("roots/list", "{}", .roots, true), ("roots/list", "{}", everything.subtracting(.roots), false),
        ("sampling/createMessage", "{}", .sampling, true),
        ("sampling/createMessage", "{}", everything.subtracting(.sampling), false),
        ("sampling/createMessage", #"{"tools":[]}"#, .sampling, false),
        ("sampling/createMessage", #"{"toolChoice":{"mode":"auto"}}"#, .sampling, false),
        ("sampling/createMessage", #"{"tools":[]}"#, [.sampling, .samplingTools], true),
        ("sampling/createMessage", #"{"tools":[]}"#, .samplingTools, false),
        ("elicitation/create", "{}", .elicitationForm, true), ("elicitation/create", "{}", .elicitationURL, false),
        ("elicitation/create", #"{"mode":"form"}"#, .elicitationForm, true),
        ("elicitation/create", #"{"mode":"form"}"#, .elicitationURL, false),
        ("elicitation/create", #"{"mode":"url"}"#, .elicitationURL, true),
        ("elicitation/create", #"{"mode":"url"}"#, .elicitationForm, false),
        ("elicitation/create", #"{"mode":"URL"}"#, .elicitationURL, false),
        ("elicitation/create", #"{"mode":5}"#, .elicitationForm, true),
        ("elicitation/create", "{}", everything.subtracting(.elicitationForm), false),
    ]

    @Test("A client is asked only what it declared", arguments: questions)
    func allow(_ method: String, _ params: String, _ capabilities: ClientCapabilities, _ isAllowed: Bool) throws {
        let question = try #require(Question(method: method, params: JSONValue.parse(params)))
        #expect(capabilities.allow(question) == isAllowed)
        #expect(!ClientCapabilities().allow(question))
        #expect(Self.everything.allow(question))
    }

    @Test("Levels are ordered as RFC 5424 has them, and others are none")
    func levels() {
        #expect(
            LogLevel.allCases.shuffled().sorted().map(\.rawValue) == [
                "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
            ])
        for name in ["", "Debug", "warn", "fatal", "debug "] { #expect(LogLevel(rawValue: name) == nil) }
    }
}
