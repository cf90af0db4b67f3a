// Licensed under the Apache License 2.0; see LICENSE.

/// Bytes in, envelope out.
public enum MessageParser {
    /// Takes one JSON-RPC message apart.
    ///
    /// Checks everything the gateway relies on later: well-formed JSON without duplicate keys, `jsonrpc` "2.0", an id that is a
    /// string or an integer, `params` an object. Refused messages carry their id where it could be read. Cost: one pass over
    /// the bytes and three small arrays.
    public static func parse(_ bytes: Span<UInt8>, limits: WireLimits) throws(WireError) -> Message {
        var scanner = JSONScanner(limits: limits)
        let document = try scanner.scanDocument(bytes)
        guard document.kind == .object else {
            throw WireError(
                .invalidRequest,
                document.kind == .array
                    ? "a batch of messages is not accepted here; send one message at a time"
                    : "a JSON-RPC message is an object")
        }
        return try classify(bytes, scanner)
    }

    /// Scans text that must be one JSON object, for results that a guest wrote or that were kept: where the object is, its
    /// members, and the members of its `_meta`.
    public static func object(
        _ bytes: Span<UInt8>, limits: WireLimits
    ) throws(WireError) -> (range: Range<Int>, members: [Member], meta: [Member]) {
        var scanner = JSONScanner(limits: limits)
        let document = try scanner.scanDocument(bytes, level: .body)
        guard document.kind == .object else { throw WireError(.invalidRequest, "a JSON object was expected") }
        return (document.range, scanner.body, scanner.meta)
    }

    private static func classify(_ bytes: Span<UInt8>, _ scanner: JSONScanner) throws(WireError) -> Message {
        var version: Member?
        var id: Member?
        var method: Member?
        var params: Member?
        var result: Member?
        var error: Member?
        for member in scanner.root {
            if member.isNamed("jsonrpc", in: bytes) { version = member }
            if member.isNamed("id", in: bytes) { id = member }
            if member.isNamed("method", in: bytes) { method = member }
            if member.isNamed("params", in: bytes) { params = member }
            if member.isNamed("result", in: bytes) { result = member }
            if member.isNamed("error", in: bytes) { error = member }
        }
        let idText = id.flatMap { isValidID(bytes, $0) ? Array(bytes, $0.value) : nil }
        func refuse(_ reason: String) -> WireError { WireError(.invalidRequest, reason, idText: idText) }

        guard let version, version.kind == .string, version.value.count == 5,
            JSONText.matches(bytes, version.value.lowerBound, "\"2.0\"")
        else { throw refuse("the member \"jsonrpc\" must be the string \"2.0\"") }

        let bodies = [params, result, error].compactMap { $0 }
        guard bodies.count <= 1 else {
            throw refuse("a message has only one of \"params\", \"result\" and \"error\"")
        }
        let body = bodies.first
        var message = Message(
            kind: .request, method: .other(""), id: id?.value, body: body?.value, bodyKind: body?.kind,
            members: scanner.body, meta: scanner.meta)

        if let method {
            guard method.kind == .string else { throw refuse("the member \"method\" must be a string") }
            guard result == nil, error == nil else { throw refuse("a request has no \"result\" and no \"error\"") }
            guard params == nil || params?.kind == .object else {
                throw refuse("the member \"params\" must be an object")
            }
            message.method = Method(name: JSONText.string(bytes, value: method.value))
            guard let id else {
                message.kind = .notification
                return message
            }
            guard isValidID(bytes, id) else { throw refuse("the id of a request is a string or an integer") }
            return message
        }
        guard result != nil || error != nil else {
            throw refuse("a message needs a \"method\", a \"result\" or an \"error\"")
        }
        guard error == nil || error?.kind == .object else { throw refuse("the member \"error\" must be an object") }
        message.kind = result != nil ? .result : .error
        return message
    }

    /// A string, or a number without fraction and exponent.
    private static func isValidID(_ bytes: Span<UInt8>, _ id: Member) -> Bool {
        switch id.kind {
        case .string: return true
        case .number:
            for index in id.value where bytes[index] == UInt8(ascii: ".") || bytes[index] | 0x20 == UInt8(ascii: "e") {
                return false
            }
            return true
        case .object, .array, .bool, .null: return false
        }
    }
}

extension Array<UInt8> {
    /// A copy of a piece of scanned bytes.
    public init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        self = []
        reserveCapacity(range.count)
        for index in range { append(bytes[index]) }
    }
}
