// Licensed under the Apache License 2.0; see LICENSE.

/// Which tool names are meant: `*` stands for any run of characters, also none, `?` for one character, and everything
/// else for itself. There is no escape: a tool name has neither of the two in it.
///
/// Bytes decide, so case matters and no character is taken for another that looks the same. Asking allocates nothing
/// and takes at most as many steps as the lengths of name and pattern multiplied, whatever the pattern.
package struct NamePattern: Sendable, Equatable {
    /// As bytes, since `==` of `String` would call two patterns equal that match different names.
    private let bytes: [UInt8]
    /// For the usual pattern, a plain name, one comparison is the whole answer.
    private let isPlain: Bool

    package init(_ text: String) {
        bytes = Array(text.utf8)
        isPlain = !bytes.contains { $0 == Self.anyRun || $0 == Self.anyOne }
    }

    /// The pattern as it was written.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the whole of `name` fits.
    package func matches(_ name: String) -> Bool {
        guard !isPlain else { return name.utf8.count == bytes.count && name.utf8.elementsEqual(bytes) }
        return matches(name.utf8.span)
    }

    private static let anyRun = UInt8(ascii: "*")
    private static let anyOne = UInt8(ascii: "?")

    /// Takes each star for as little as possible. When the text after it does not fit, only the last star is given one
    /// character more: what the stars before it took is already the shortest, and more would not help.
    private func matches(_ name: Span<UInt8>) -> Bool {
        var (here, there) = (0, 0)
        var lastStar: (pattern: Int, name: Int)?
        while there < name.count {
            if here < bytes.count, bytes[here] == Self.anyRun {
                here += 1
                lastStar = (here, there)
            } else if here < bytes.count, bytes[here] == Self.anyOne {
                here += 1
                there = Self.next(name, there)
            } else if here < bytes.count, bytes[here] == name[there] {
                here += 1
                there += 1
            } else if let star = lastStar {
                let longer = Self.next(name, star.name)
                lastStar = (star.pattern, longer)
                (here, there) = (star.pattern, longer)
            } else {
                return false
            }
        }
        return bytes[here...].allSatisfy { $0 == Self.anyRun }
    }

    /// Past the character at `index`: its first byte, and the bytes that continue it.
    private static func next(_ name: Span<UInt8>, _ index: Int) -> Int {
        var index = index + 1
        while index < name.count, name[index] & 0xc0 == 0x80 { index += 1 }
        return index
    }
}

/// Which names are let through: those that some pattern of `allow` fits, and none of `deny`.
package struct NameFilter: Sendable, Equatable {
    /// What is said about a name, with the pattern that said it, for the words that explain it to a person.
    package enum Decision: Sendable, Equatable {
        /// None when everything is allowed that is not denied.
        case allowed(by: String?)
        case denied(by: String)
        /// There are patterns that allow, and none fits.
        case notAllowed
    }

    /// Empty allows every name.
    package let allow: [NamePattern]
    /// These win over `allow`.
    package let deny: [NamePattern]

    package init(allow: [NamePattern] = [], deny: [NamePattern] = []) {
        self.allow = allow
        self.deny = deny
    }

    /// The first pattern that fits decides, in the order they are written. Costs one match for each pattern at most.
    package func decide(_ name: String) -> Decision {
        if let pattern = deny.first(where: { $0.matches(name) }) { return .denied(by: pattern.text) }
        if allow.isEmpty { return .allowed(by: nil) }
        guard let pattern = allow.first(where: { $0.matches(name) }) else { return .notAllowed }
        return .allowed(by: pattern.text)
    }
}
