// Licensed under the Apache License 2.0; see LICENSE.

/// The members of a message that JSON-RPC gives a meaning; all others are passed over.
struct Envelope {
    enum Word {
        case version, id, method, params, result, error

        /// The word that this key is, escapes resolved.
        init?(_ bytes: Span<UInt8>, _ key: Range<Int>, isEscaped: Bool) {
            func equals(_ word: StaticString) -> Bool { JSONText.key(bytes, key, isEscaped, equals: word) }
            if equals("jsonrpc") {
                self = .version
            } else if equals("id") {
                self = .id
            } else if equals("method") {
                self = .method
            } else if equals("params") {
                self = .params
            } else if equals("result") {
                self = .result
            } else if equals("error") {
                self = .error
            } else {
                return nil
            }
        }

        var isPayload: Bool {
            switch self {
            case .params, .result, .error: true
            case .version, .id, .method: false
            }
        }
    }

    var version: Member?
    var id: Member?
    var method: Member?
    var params: Member?
    var result: Member?
    var error: Member?

    subscript(word: Word) -> Member? {
        get {
            switch word {
            case .version: version
            case .id: id
            case .method: method
            case .params: params
            case .result: result
            case .error: error
            }
        }
        set {
            switch word {
            case .version: version = newValue
            case .id: id = newValue
            case .method: method = newValue
            case .params: params = newValue
            case .result: result = newValue
            case .error: error = newValue
            }
        }
    }
}
