// Licensed under the Apache License 2.0; see LICENSE.

/// Bytes in, envelope out.
public enum MessageParser {
    /// Takes one JSON-RPC message apart.
    ///
    /// Checks everything the gateway relies on later: well-formed JSON without duplicate keys, `jsonrpc` "2.0", an id
    /// that is a string or an integer, `params` and `error` objects. A `result` may be of any kind; `bodyKind` tells.
    /// Refused messages carry their id where it could be read. Cost: one pass over the bytes and at most two small
    /// arrays.
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

    /// Scans text that must be one JSON object, for results that a guest wrote or that were kept: where the object is,
    /// its members, and the members of its `_meta`.
    public static func object(
        _ bytes: Span<UInt8>, limits: WireLimits
    ) throws(WireError) -> (range: Range<Int>, members: [Member], meta: [Member]) {
        var scanner = JSONScanner(limits: limits)
        let document = try scanner.scanDocument(bytes, level: .body)
        guard document.kind == .object else { throw WireError(.invalidRequest, "a JSON object was expected") }
        return (document.range, scanner.body, scanner.meta)
    }

    /// The messages of a batch, which only revision 2025-03-26 has: where each element of the array is. At most a
    /// hundred.
    public static func batch(_ bytes: Span<UInt8>, limits: WireLimits) throws(WireError) -> [Range<Int>] {
        var scanner = JSONScanner(limits: limits)
        let document = try scanner.scanDocument(bytes, level: .batch)
        guard document.kind == .array else { throw WireError(.invalidRequest, "a batch is an array") }
        guard (1...batchMax).contains(scanner.elements.count) else {
            throw WireError(.invalidRequest, "a batch holds 1 to \(batchMax) messages")
        }
        return scanner.elements
    }

    private static let batchMax = 100

    private static func classify(_ bytes: Span<UInt8>, _ scanner: JSONScanner) throws(WireError) -> Message {
        let envelope = scanner.envelope
        let (method, params) = (envelope.method, envelope.params)
        let (result, error) = (envelope.result, envelope.error)
        let id = envelope.id.flatMap { isValidID(bytes, $0) ? $0.value : nil }
        func refuse(_ reason: String) -> WireError {
            WireError(.invalidRequest, reason, idText: id.map { Array(bytes, $0) })
        }

        guard let version = envelope.version, isVersion(bytes, version) else {
            throw refuse("the member \"jsonrpc\" must be the string \"2.0\"")
        }
        guard params == nil || (result == nil && error == nil), result == nil || error == nil else {
            throw refuse("a message has only one of \"params\", \"result\" and \"error\"")
        }
        let body = params ?? result ?? error
        var message = Message(
            kind: .request, method: .other(""), id: id, body: body?.value, bodyKind: body?.kind,
            members: scanner.body, meta: scanner.meta)

        if let method {
            guard method.kind == .string else { throw refuse("the member \"method\" must be a string") }
            guard result == nil, error == nil else { throw refuse("a request has no \"result\" and no \"error\"") }
            guard params == nil || params?.kind == .object else {
                throw refuse("the member \"params\" must be an object")
            }
            message.method = Method(bytes, inside: (method.value.lowerBound + 1)..<(method.value.upperBound - 1))
            if envelope.id == nil {
                message.kind = .notification
            } else if id == nil {
                throw refuse("the id of a request is a string or an integer")
            }
            return message
        }
        if let error {
            guard error.kind == .object else { throw refuse("the member \"error\" must be an object") }
            guard id != nil || envelope.id == nil || envelope.id?.kind == .null else {
                throw refuse("the id of an error is a string, an integer or null")
            }
            message.kind = .error
            return message
        }
        guard result != nil else { throw refuse("a message needs a \"method\", a \"result\" or an \"error\"") }
        guard id != nil else { throw refuse("the id of a result is a string or an integer") }
        message.kind = .result
        return message
    }

    private static func isVersion(_ bytes: Span<UInt8>, _ member: Member) -> Bool {
        guard member.kind == .string else { return false }
        let inside = (member.value.lowerBound + 1)..<(member.value.upperBound - 1)
        // Three characters: a longer spelling can only be an escaped one.
        return JSONText.key(bytes, inside, inside.count > 3, equals: "2.0")
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
        // The buffer is copied before the closure ends.
        self = unsafe bytes.extracting(range).withUnsafeBufferPointer { unsafe Array($0) }
    }
}
