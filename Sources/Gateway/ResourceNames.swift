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
        if uri.utf8.starts(with: Self.apps.utf8) {
            return Self.apps + label + "/" + Self.rest(of: uri, after: Self.apps.utf8.count)
        }
        return label + "+" + uri
    }

    /// The owner's own URI; nil when this is none of its exposed ones. Web addresses tell nothing about their owner.
    func original(_ uri: String) -> String? {
        guard !label.isEmpty else { return nil }
        let apps = "\(Self.apps)\(label)/"
        if uri.utf8.starts(with: apps.utf8) { return Self.apps + Self.rest(of: uri, after: apps.utf8.count) }
        // Schemes are written in any case, and some clients lower them.
        guard Self.lowered(uri.utf8.prefix(label.utf8.count + 1)).elementsEqual("\(label)+".utf8) else { return nil }
        return Self.rest(of: uri, after: label.utf8.count + 1)
    }

    /// Counted in bytes: a mark that combines with the character before it would be lost with that.
    private static func rest(of uri: String, after count: Int) -> String {
        String(decoding: uri.utf8.dropFirst(count), as: UTF8.self)
    }

    private static func lowered(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        bytes.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
    }

    private static func isWeb(_ uri: String) -> Bool { uri.hasPrefix("https://") || uri.hasPrefix("http://") }

    /// A prefix as the beginning of a scheme (RFC 3986, 3.1): a small letter, then small letters, digits, `-` and `.`.
    /// What had to be changed ends in a hash, so that two prefixes never become one label.
    private static func schemePart(_ prefix: String) -> String {
        let isLegal =
            prefix.utf8.first.map(isLetter) ?? true
            && prefix.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
        guard !isLegal else { return prefix }
        let plain = lowered(prefix.utf8).map { isLetter($0) || isDigit($0) ? $0 : UInt8(ascii: "-") }
        let text = String(decoding: plain, as: UTF8.self)
        let opening = plain.first.map(isLetter) == true ? "" : "x-"
        return opening + text + "-" + ExposedName.digest(prefix)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
