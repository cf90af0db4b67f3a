// Licensed under the Apache License 2.0; see LICENSE.

/// The address of a schema as RFC 3986 takes it apart, without the fragment. It is only ever compared with the
/// addresses inside the same document.
struct Address: Sendable {
    var scheme: Substring?
    var authority: Substring?
    var path: Substring = ""
    var query: Substring?

    /// The address of a document that does not say its own.
    init() {}

    init(_ text: Substring) {
        var rest = text
        if let colon = rest.utf8.firstIndex(of: UInt8(ascii: ":")), Self.isScheme(rest[..<colon]) {
            scheme = rest[..<colon]
            rest = rest[rest.utf8.index(after: colon)...]
        }
        if let mark = rest.utf8.firstIndex(of: UInt8(ascii: "?")) {
            query = rest[rest.utf8.index(after: mark)...]
            rest = rest[..<mark]
        }
        if rest.hasPrefix("//") {
            let inside = rest.dropFirst(2)
            let end = inside.utf8.firstIndex(of: UInt8(ascii: "/")) ?? inside.endIndex
            authority = inside[..<end]
            rest = inside[end...]
        }
        path = rest
    }

    /// What stands before the first `#`, and what after it.
    static func split(_ reference: String) -> (address: Substring, fragment: Substring?) {
        // By bytes: a combining mark after the sign would make another character of it.
        guard let mark = reference.utf8.firstIndex(of: UInt8(ascii: "#")) else { return (reference[...], nil) }
        return (reference[..<mark], reference[reference.utf8.index(after: mark)...])
    }

    private static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, isLetter(first) else { return false }
        return text.utf8.allSatisfy {
            isLetter($0) || (0x30...0x39).contains($0) || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-")
                || $0 == UInt8(ascii: ".")
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x61...0x7a).contains(byte | 0x20)
    }

    var text: String {
        var text = ""
        if let scheme { text += scheme + ":" }
        if let authority { text += "//" + authority }
        text += path
        if let query { text += "?" + query }
        return text
    }

    /// What the reference means where this is the address of its surroundings.
    func resolve(_ reference: Substring) -> Address {
        var result = Address(reference)
        if result.scheme != nil {
            result.path = Self.withoutDots(result.path)
            return result
        }
        result.scheme = scheme
        if result.authority != nil {
            result.path = Self.withoutDots(result.path)
            return result
        }
        result.authority = authority
        if result.path.isEmpty {
            result.path = path
            result.query = result.query ?? query
        } else if result.path.hasPrefix("/") {
            result.path = Self.withoutDots(result.path)
        } else if authority != nil, path.isEmpty {
            result.path = Self.withoutDots("/" + result.path)
        } else {
            let folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path[...$0] } ?? ""
            result.path = Self.withoutDots(folder + result.path)
        }
        return result
    }

    /// Takes out the segments `.` and `..`.
    private static func withoutDots(_ path: Substring) -> Substring {
        guard hasDots(path) else { return path }
        let isRooted = path.hasPrefix("/")
        var kept: [Substring] = []
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch segment {
            case ".": if isLast { kept.append("") }
            case "..":
                // The empty segment before the first slash stays.
                if kept.count > (isRooted ? 1 : 0) { kept.removeLast() }
                if isLast { kept.append("") }
            default: kept.append(segment)
            }
        }
        return Substring(kept.joined(separator: "/"))
    }

    /// Whether a segment begins with a dot.
    private static func hasDots(_ path: Substring) -> Bool {
        var previous = UInt8(ascii: "/")
        for byte in path.utf8 {
            if byte == UInt8(ascii: "."), previous == UInt8(ascii: "/") { return true }
            previous = byte
        }
        return false
    }

    /// Percent signs and two hexadecimal digits become the byte they stand for.
    static func percentDecoded(_ text: Substring) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let high = hexDigit(bytes[index + 1]),
                let low = hexDigit(bytes[index + 2])
            {
                out.append(high << 4 | low)
                index += 3
            } else {
                out.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
