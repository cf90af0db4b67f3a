// Licensed under the Apache License 2.0; see LICENSE.

/// The names that things of a servers file get in our configuration.
enum ImportNames {
    static let lengthMax = 40

    /// A legal name for each original, in the same order, no two alike. One that is legal stays as it is, whatever the
    /// others would like to become.
    static func upstreams(_ originals: [String]) -> [String] {
        var taken: Set<String> = []
        var names: [String?] = originals.map { isLegal($0) && taken.insert($0).inserted ? $0 : nil }
        for (index, original) in originals.enumerated() where names[index] == nil {
            let wanted = legal(original)
            var name = wanted
            var number = 2
            while !taken.insert(name).inserted {
                let mark = "-\(number)"
                name = trimmed(wanted.utf8.prefix(lengthMax - mark.utf8.count)) + mark
                number += 1
            }
            names[index] = name
        }
        return names.compactMap { $0 }
    }

    /// The name is the prefix of the tools too, so that the mark between prefix and tool must not be in it.
    private static func isLegal(_ name: String) -> Bool {
        (1...lengthMax).contains(name.utf8.count) && name.utf8.allSatisfy(SettingsUnits.isNameByte)
            && name != "gateway" && !name.contains("__") && !name.hasSuffix("_")
    }

    private static func legal(_ original: String) -> String {
        var bytes: [UInt8] = []
        for byte in original.utf8 {
            let mapped = SettingsUnits.isNameByte(byte) ? byte : UInt8(ascii: "-")
            // Several marks in a row say no more than one.
            if let last = bytes.last, isMark(last), isMark(mapped) { continue }
            bytes.append(mapped)
        }
        let name = trimmed(bytes.drop { isMark($0) }.prefix(lengthMax))
        return name.isEmpty ? "server" : name == "gateway" ? "gateway-upstream" : name
    }

    private static func trimmed(_ bytes: some BidirectionalCollection<UInt8>) -> String {
        var rest = Array(bytes)
        while let last = rest.last, isMark(last) { rest.removeLast() }
        return String(decoding: rest, as: UTF8.self)
    }

    private static func isMark(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") }

    /// The way variables are usually written: `github-token` becomes `GITHUB_TOKEN`.
    static func variable(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): bytes.append(byte & 0xdf)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): bytes.append(byte)
            default: if let last = bytes.last, last != UInt8(ascii: "_") { bytes.append(UInt8(ascii: "_")) }
            }
        }
        while bytes.last == UInt8(ascii: "_") { bytes.removeLast() }
        guard let first = bytes.first else { return "VALUE" }
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
        return (isDigit ? "_" : "") + String(decoding: bytes, as: UTF8.self)
    }

    /// What `${…}` of our configuration takes for the name of a variable.
    static func isVariable(_ name: some StringProtocol) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { SettingsUnits.isNameByte($0) && $0 != UInt8(ascii: "-") }
    }
}
