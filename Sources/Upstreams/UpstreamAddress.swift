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

    /// An address that a server of this one names, whole or relative to this one (RFC 3986, 5.2); nil when it is on
    /// another server.
    func resolving(_ reference: String) -> UpstreamAddress? {
        let text = reference.trimmingSpaces.prefix { $0 != "#" }
        if let scheme = Self.scheme(of: text) {
            guard scheme == "http" || scheme == "https",
                let other = try? UpstreamAddress(scheme + text.dropFirst(scheme.count)),
                other.host.lowercased() == host.lowercased(), other.port == port, other.isSecure == isSecure
            else { return nil }
            return other
        }
        guard !text.isEmpty, !text.hasPrefix("//") else { return nil }
        var result = self
        let own = target.prefix { $0 != "?" }
        let (path, query) = (text.prefix { $0 != "?" }, text.drop { $0 != "?" })
        if path.isEmpty {
            result.target = String(own + query)
        } else if path.hasPrefix("/") {
            result.target = Self.withoutDots(String(path)) + query
        } else {
            let folder = own.lastIndex(of: "/").map { String(own[...$0]) } ?? "/"
            result.target = Self.withoutDots(folder + path) + query
        }
        let isLegal = result.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        return isLegal ? result : nil
    }

    /// In lower case; nil for a relative reference.
    private static func scheme(of text: Substring) -> String? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let name = text[..<colon]
        guard name.first?.isLetter == true,
            name.utf8.allSatisfy({ byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            })
        else { return nil }
        return name.lowercased()
    }

    private static func withoutDots(_ path: String) -> String {
        var kept: [Substring] = []
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            switch part {
            case ".": if isLast { kept.append("") }
            case "..":
                _ = kept.popLast()
                if isLast { kept.append("") }
            default: kept.append(part)
            }
        }
        return "/" + kept.joined(separator: "/")
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
