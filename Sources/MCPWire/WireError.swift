// Licensed under the Apache License 2.0; see LICENSE.

/// Bounds on one message. Everything a peer sends is measured against these before anything else looks at it.
public struct WireLimits: Sendable, Equatable {
    /// Longest message, in bytes.
    public var bytesMax: Int
    /// Deepest nesting of arrays and objects; the outermost value is depth 1.
    public var depthMax: Int

    public init(bytesMax: Int = 4 << 20, depthMax: Int = 64) {
        self.bytesMax = bytesMax
        self.depthMax = depthMax
    }
}

/// Why bytes are not an acceptable message. Safe to show to the peer: it never quotes what the peer sent.
public struct WireError: Error, Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        /// The bytes are not JSON (JSON-RPC -32700).
        case notJSON
        /// JSON, but not a message the protocol allows (JSON-RPC -32600).
        case invalidRequest
        /// Over a limit of size or depth (JSON-RPC -32600, HTTP 413 for size).
        case tooLarge
        case tooDeep
    }

    public var kind: Kind
    /// What is wrong, in words.
    public var reason: String
    /// Byte offset of the first offending byte, where one can be named.
    public var offset: Int?
    /// The request's id as it was written, where it could still be read; so that the refusal can carry it.
    public var idText: [UInt8]?

    public init(_ kind: Kind, _ reason: String, offset: Int? = nil, idText: [UInt8]? = nil) {
        self.kind = kind
        self.reason = reason
        self.offset = offset
        self.idText = idText
    }

    /// One line for people: the reason and where it is.
    public var text: String {
        guard let offset else { return reason }
        return "\(reason) (byte \(offset))"
    }
}
