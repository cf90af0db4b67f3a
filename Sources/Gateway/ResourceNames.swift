// Licensed under the Apache License 2.0; see LICENSE.

/// The URIs under which clients see one owner's resources: `label+original`, a scheme that is reversible and leaves URI
/// templates valid (RFC 6570), so that two owners may have the same URI.
///
/// Kept as they are: web addresses, which clients fetch themselves, and everything of an owner without a prefix.
/// `ui://` must stay that scheme, so there the label becomes the first part behind it.
struct ResourceNames: Sendable, Equatable {
    /// Empty for an owner whose URIs are shown as they are.
    let label: String

    init(prefix: String) { label = Self.schemePart(prefix) }

    private static let apps = "ui://"

    func exposed(_ uri: String) -> String {
        if label.isEmpty || Self.isWeb(uri) { return uri }
        if uri.hasPrefix(Self.apps) { return Self.apps + label + "/" + uri.dropFirst(Self.apps.count) }
        return label + "+" + uri
    }

    /// The owner's own URI; nil when this is none of its exposed ones. Web addresses tell nothing about their owner.
    func original(_ uri: String) -> String? {
        guard !label.isEmpty else { return nil }
        if uri.utf8.starts(with: "\(Self.apps)\(label)/".utf8) {
            return Self.apps + uri.dropFirst(Self.apps.count + label.count + 1)
        }
        guard uri.utf8.starts(with: "\(label)+".utf8) else { return nil }
        return String(uri.dropFirst(label.count + 1))
    }

    private static func isWeb(_ uri: String) -> Bool { uri.hasPrefix("https://") || uri.hasPrefix("http://") }

    /// A prefix as the beginning of a scheme (RFC 3986, 3.1): a letter, then letters, digits, `-` and `.`. What had to
    /// be changed ends in a hash, so that two prefixes never become one label.
    private static func schemePart(_ prefix: String) -> String {
        let isLegal =
            prefix.utf8.first.map(isLetter) ?? true
            && prefix.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
        guard !isLegal else { return prefix }
        let plain = prefix.utf8.map { isLetter($0) || isDigit($0) ? $0 : UInt8(ascii: "-") }
        let text = String(decoding: plain, as: UTF8.self)
        let opening = prefix.utf8.first.map(isLetter) == true ? "" : "x-"
        return opening + text + "-" + ExposedName.digest(prefix)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
