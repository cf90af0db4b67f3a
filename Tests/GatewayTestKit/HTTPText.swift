// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire

/// The head of an HTTP/1.1 message, read by a reader of our own so that no test trusts the parser under test.
struct HTTPHead {
    var firstLine: String
    var headers: [(name: String, value: String)]
    /// Length of the head with its empty line.
    var count: Int

    /// nil while the head is incomplete.
    init?(_ bytes: ArraySlice<UInt8>) {
        let end: [UInt8] = [13, 10, 13, 10]
        guard let blank = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else { return nil }
        var lines = String(decoding: bytes[..<blank], as: UTF8.self).split(
            separator: "\r\n", omittingEmptySubsequences: false)
        firstLine = String(lines.removeFirst())
        headers = lines.map { line in
            let name = line.prefix { $0 != ":" }
            let value = line.dropFirst(name.count + 1).drop { $0 == " " || $0 == "\t" }
            return (name: name.lowercased(), value: String(value))
        }
        count = blank + 4 - bytes.startIndex
    }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// One request as an upstream received it.
package struct RecordedRequest: Sendable {
    package let verb: String
    package let target: String
    /// Names in lower case, in the order they came.
    package let headers: [(name: String, value: String)]
    package let body: [UInt8]
    /// Which connection it came on, counted from 1.
    package let connection: Int

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    package var text: String { String(decoding: body, as: UTF8.self) }
    package var json: JSONValue? { try? JSONValue.parse(body.span) }
    package var method: String? { json?["method"]?.stringValue }
    /// JSON text of the id.
    package var id: String { json?["id"]?.text ?? "null" }
    package var tool: String? { json?["params"]?["name"]?.stringValue }

    /// A member of `params` exactly as it was sent.
    package func param(_ key: StaticString) -> String? { rawMember(key, of: body) }

    /// Takes one whole request off the front of `bytes`; nil while it is incomplete. Only `Content-Length` is
    /// understood, which is what the gateway sends.
    static func take(from bytes: inout [UInt8], connection: Int) -> RecordedRequest? {
        guard let head = HTTPHead(bytes[...]) else { return nil }
        let length = head.header("content-length").flatMap { Int($0) } ?? 0
        guard bytes.count >= head.count + length else { return nil }
        let words = head.firstLine.split(separator: " ")
        let request = RecordedRequest(
            verb: words.first.map(String.init) ?? "", target: words.dropFirst().first.map(String.init) ?? "",
            headers: head.headers, body: Array(bytes[head.count..<(head.count + length)]), connection: connection)
        bytes.removeFirst(head.count + length)
        return request
    }
}

/// One answer as a client received it.
package struct RecordedAnswer: Sendable {
    package let status: Int
    package let headers: [(name: String, value: String)]
    /// Without transfer coding.
    package let body: [UInt8]

    package func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    package var text: String { String(decoding: body, as: UTF8.self) }
    package var isStream: Bool { header("content-type") == "text/event-stream" }

    /// The JSON-RPC message: the body, or the data of the last event of a stream.
    package var message: [UInt8] {
        guard isStream else { return body }
        // A carriage return with its line feed is one character of Swift, and a line end.
        let lines = text.split(whereSeparator: \.isNewline)
        return Array((lines.last { $0.hasPrefix("data: ") }?.dropFirst(6) ?? "").utf8)
    }

    package var json: JSONValue? { try? JSONValue.parse(message.span) }
    package var result: JSONValue? { json?["result"] }
    package var error: JSONValue? { json?["error"] }
    package var errorCode: Int? { error?["code"]?.intValue }
    /// The word and the sentence of a refusal that is not JSON-RPC.
    package var refusal: (code: String, words: String)? {
        guard let code = error?["code"]?.stringValue, let words = error?["message"]?.stringValue else { return nil }
        return (code, words)
    }
    /// JSON text of the id.
    package var id: String? { json?["id"]?.text }
    /// The first text of a tool's result.
    package var words: String? { result?["content"]?.arrayValue?.first?["text"]?.stringValue }
    package var saysError: Bool { result?["isError"]?.boolValue ?? false }
    package var toolNames: [String] { result?["tools"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? [] }

    /// A member of `result` exactly as it came.
    package func resultMember(_ key: StaticString) -> String? { rawMember(key, of: message) }
    /// The whole `result` exactly as it came.
    package var rawResult: String? {
        guard let parsed = try? MessageParser.parse(message.span, limits: WireLimits(bytesMax: 64 << 20)),
            parsed.kind == .result, let range = parsed.body
        else { return nil }
        return String(decoding: message[range], as: UTF8.self)
    }

    /// Takes one whole answer off the front of `bytes`; nil while it is incomplete.
    ///
    /// - Parameter isEnd: the connection has been closed, which ends an answer without a length.
    static func take(from bytes: inout [UInt8], isEnd: Bool, toHead: Bool) -> RecordedAnswer? {
        guard let head = HTTPHead(bytes[...]) else { return nil }
        let status = head.firstLine.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        var body: [UInt8] = []
        var used = head.count
        if status == 100 || toHead {
            used = head.count
        } else if head.header("transfer-encoding") == "chunked" {
            guard let chunks = Chunks(bytes[head.count...]), chunks.isComplete else { return nil }
            body = chunks.data
            used += chunks.count
        } else if let length = head.header("content-length").flatMap({ Int($0) }) {
            guard bytes.count >= head.count + length else { return nil }
            body = Array(bytes[head.count..<(head.count + length)])
            used += length
        } else {
            guard isEnd else { return nil }
            body = Array(bytes[head.count...])
            used = bytes.count
        }
        bytes.removeFirst(used)
        return RecordedAnswer(status: status, headers: head.headers, body: body)
    }
}

/// A chunked body, as far as it has come.
struct Chunks {
    private(set) var data: [UInt8] = []
    private(set) var count = 0
    private(set) var isComplete = false

    /// nil when it is not in chunks at all.
    init?(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while let end = rest.firstIndex(of: 10) {
            let line = String(decoding: rest[..<end], as: UTF8.self).filter { $0 != "\r" && $0 != "\r\n" }
            guard let size = Int(line, radix: 16) else { return nil }
            let start = end + 1
            guard rest.endIndex - start >= size + 2 else { return }
            data += rest[start..<(start + size)]
            rest = rest[(start + size + 2)...]
            count = rest.startIndex - bytes.startIndex
            if size == 0 {
                isComplete = true
                return
            }
        }
    }
}

/// A member of `params`, `result` or `error` as it stands in the message.
func rawMember(_ key: StaticString, of message: [UInt8]) -> String? {
    guard let parsed = try? MessageParser.parse(message.span, limits: WireLimits(bytesMax: 64 << 20)),
        let member = parsed.member(key, in: message.span)
    else { return nil }
    return String(decoding: message[member.value], as: UTF8.self)
}
