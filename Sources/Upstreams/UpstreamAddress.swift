// Licensed under the Apache License 2.0; see LICENSE.

/// An http or https address, taken apart as far as a client needs it.
struct UpstreamAddress: Sendable, Equatable {
    var isSecure: Bool
    /// Without brackets.
    var host: String
    var port: Int
    /// Path and query, beginning with a slash.
    var target: String

    init(_ url: String) throws(UpstreamSettingsError) {
        let rest: Substring
        if url.hasPrefix("http://") {
            isSecure = false
            rest = url.dropFirst(7)
        } else if url.hasPrefix("https://") {
            isSecure = true
            rest = url.dropFirst(8)
        } else {
            throw UpstreamSettingsError(words: "the address \(url) must begin with http:// or https://")
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.contains("@") else {
            throw UpstreamSettingsError(words: "an address holds no user name and no password; use the headers setting")
        }
        let path = rest.dropFirst(authority.count).prefix { $0 != "#" }
        target = path.hasPrefix("/") ? String(path) : "/" + path
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw UpstreamSettingsError(words: "the address \(url) holds a character that must be percent-encoded")
        }
        var hostPart = authority
        port = isSecure ? 443 : 80
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            guard let number = Int(authority[authority.index(after: colon)...]), (1...65_535).contains(number) else {
                throw UpstreamSettingsError(words: "the address \(url) has no usable port")
            }
            port = number
            hostPart = authority[..<colon]
        }
        host = hostPart.hasPrefix("[") ? String(hostPart.dropFirst().dropLast()) : String(hostPart)
        let isLegal = host.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "%"):
                true
            default: false
            }
        }
        guard !host.isEmpty, isLegal else {
            throw UpstreamSettingsError(words: "the address \(url) names no usable host")
        }
    }

    /// An address that a server of this one names, whole or as a path; nil when it is on another server.
    func resolving(_ reference: String) -> UpstreamAddress? {
        let text = reference.trimmingSpaces
        if text.hasPrefix("http://") || text.hasPrefix("https://") {
            guard let other = try? UpstreamAddress(text), other.host == host, other.port == port,
                other.isSecure == isSecure
            else { return nil }
            return other
        }
        guard !text.isEmpty, !text.hasPrefix("//") else { return nil }
        var result = self
        let path = text.prefix { $0 != "#" }
        if path.hasPrefix("/") {
            result.target = String(path)
        } else {
            let own = target.prefix { $0 != "?" }
            let folder = own.lastIndex(of: "/").map { String(own[...$0]) } ?? "/"
            result.target = String(folder) + String(path)
        }
        let isLegal = result.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        return isLegal ? result : nil
    }

    /// The value of the `Host` header.
    var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        let tail = drop { $0 == " " || $0 == "\t" }
        guard let end = tail.lastIndex(where: { $0 != " " && $0 != "\t" }) else { return "" }
        return String(tail[...end])
    }
}
