// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc

/// How durations, sizes, addresses and names are written in a configuration file, in both directions.
enum SettingsUnits {
    private static let durations: [(unit: String, length: Duration)] = [
        ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)), ("h", .seconds(3_600)),
        ("d", .seconds(86_400)),
    ]
    private static let sizes: [(unit: String, bytes: Int)] = [
        ("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ]

    /// `30s`, `5m`, `100ms`; none when it is written otherwise. No more than 99,999,999 of a unit.
    static func duration(_ text: String) -> Duration? {
        guard let (number, unit) = split(text), let known = durations.first(where: { $0.unit == unit }) else {
            return nil
        }
        return known.length * number
    }

    /// `64MiB`, `512KiB`, `1GB`, in bytes.
    static func size(_ text: String) -> Int? {
        guard let (number, unit) = split(text), let known = sizes.first(where: { $0.unit == unit }) else { return nil }
        let product = number.multipliedReportingOverflow(by: known.bytes)
        return product.overflow ? nil : product.partialValue
    }

    /// `03:30`: minutes since midnight.
    static func timeOfDay(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let hours = Int(parts[0]), let minutes = Int(parts[1]), hours < 24, minutes < 60
        else { return nil }
        return hours * 60 + minutes
    }

    /// `10/s`, `30/m`, `100/h`: that many, and as many as a second earns at once, at least one.
    static func rate(_ text: String) -> RateLimit? {
        let seconds: [String: Double] = ["/s": 1, "/m": 60, "/h": 3_600]
        guard let (number, unit) = split(text), let length = seconds[unit] else { return nil }
        let perSecond = Double(number) / length
        guard (0.001...1_000_000).contains(perSecond) else { return nil }
        return RateLimit(perSecond: perSecond, burst: max(1, Int(perSecond.rounded(.up))))
    }

    static func text(timeOfDay minutes: Int) -> String {
        func two(_ number: Int) -> String { (number < 10 ? "0" : "") + String(number) }
        return two(minutes / 60) + ":" + two(minutes % 60)
    }

    /// In the largest unit that leaves no rest; parts of a millisecond are dropped.
    static func text(_ duration: Duration) -> String {
        let parts = duration.components
        let whole = parts.seconds * 1_000 + parts.attoseconds / 1_000_000_000_000_000
        for known in durations.reversed() where whole > 0 {
            let unit = known.length.components
            let step = unit.seconds * 1_000 + unit.attoseconds / 1_000_000_000_000_000
            if whole % step == 0 { return "\(whole / step)\(known.unit)" }
        }
        return "0s"
    }

    static func text(bytes: Int) -> String {
        for known in sizes.reversed() where known.unit.count != 2 && bytes % known.bytes == 0 && bytes >= known.bytes {
            return "\(bytes / known.bytes)\(known.unit)"
        }
        return "\(bytes)B"
    }

    private static func split(_ text: String) -> (Int, String)? {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard (1...8).contains(digits.count), let number = Int(String(decoding: digits, as: UTF8.self)) else {
            return nil
        }
        return (number, String(text.dropFirst(digits.count)))
    }

    /// `host:port`, `[v6]:port` or `:port` (every address); the host is a literal address or `localhost`.
    static func address(_ text: String) -> ListenAddress? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.utf8.count), digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let port = Int(digits), port <= 65_535
        else { return nil }
        let host = String(text[..<colon])
        if host.isEmpty { return ListenAddress(host: "0.0.0.0", port: port) }
        if host == "localhost" { return ListenAddress(host: host, port: port) }
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = String(host.dropFirst().dropLast())
            return isLiteral(inner, version: 6) ? ListenAddress(host: inner, port: port) : nil
        }
        return isLiteral(host, version: 4) ? ListenAddress(host: host, port: port) : nil
    }

    private static func isLiteral(_ host: String, version: Int) -> Bool {
        if version == 4 {
            var address = in_addr()
            return unsafe inet_pton(AF_INET, host, &address) == 1
        }
        var address = in6_addr()
        return unsafe inet_pton(AF_INET6, host, &address) == 1
    }

    /// The characters of names that clients see, and of TOML's bare keys.
    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    static func hasControls(_ text: String) -> Bool { text.utf8.contains { $0 < 0x20 || $0 == 0x7f } }

    /// A path as one writes it in a key: parts that are not bare are quoted, elements of arrays stand in brackets.
    static func keyText(_ path: [String]) -> String {
        var out = ""
        for part in path {
            if part.hasPrefix("\u{1}") {
                out += "[\(part.dropFirst())]"
            } else {
                let isBare = !part.isEmpty && part.utf8.allSatisfy(isNameByte)
                out += (out.isEmpty ? "" : ".") + (isBare ? part : excerpt(part))
            }
        }
        return out
    }

    /// A text of the file between quotes, short enough for a message and without anything that would disturb a
    /// terminal.
    static func excerpt(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars.prefix(60) {
            switch scalar {
            case "\"": out += "\\\""
            case "\n": out += "\\n"
            default:
                let isHidden =
                    scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
                    || scalar.properties.generalCategory == .format
                out += isHidden ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
            }
        }
        return out + (text.unicodeScalars.count > 60 ? "…\"" : "\"")
    }

    /// `folder` joined with `path`, `.` and `..` resolved in the text alone; an absolute `path` stays where it is.
    static func absolute(_ path: String, in folder: String) -> String {
        var parts: [Substring] = []
        for part in (path.hasPrefix("/") ? path : folder + "/" + path).split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
