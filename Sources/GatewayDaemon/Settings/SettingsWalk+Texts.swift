// Licensed under the Apache License 2.0; see LICENSE.

extension SettingsWalk {
    /// Turns a filled-in text into the value of its key. Messages never show the text of a value that came from the
    /// environment or a file
    /// whole: those texts may be secrets, so only kinds that are none are quoted.
    mutating func check(_ text: String, as key: SettingsKey, at path: [String]) {
        if key.kind != .text && SettingsUnits.hasControls(text) {
            return report.error(path, "there are control characters in this text; \(key.kind.words) would be right")
        }
        switch key.kind {
        case .duration(let range): duration(text, range, key, path)
        case .timeOfDay:
            guard SettingsUnits.timeOfDay(text) != nil else { return refuse(text, key, path) }
            keep(.text(text), path)
        case .size(let range): size(text, range, key, path)
        case .choice(let words, let later): choice(text, words, later, path)
        case .address:
            guard let address = SettingsUnits.address(text) else { return refuse(text, key, path) }
            keep(.address(address), path)
        case .route: route(text, path)
        case .link: link(text, path)
        case .file, .directory, .madeDirectory, .socket: place(text, key, path)
        case .prefix: prefix(text, path)
        case .rate:
            guard SettingsUnits.rate(text) != nil else { return refuse(text, key, path) }
            keep(.text(text), path)
        case .digest:
            guard text.utf8.count == 64, text.utf8.allSatisfy({ Self.isHex($0) }) else {
                return refuse(text, key, path)
            }
            keep(.text(text.lowercased()), path)
        case .text:
            guard !text.isEmpty else { return report.error(path, "this is empty; \(key.kind.words) would be right") }
            keep(.text(text), path)
        case .section, .flag, .count, .ratio, .perSecond, .texts, .map:
            preconditionFailure("\(key.name) takes no text")
        }
    }

    private mutating func refuse(_ text: String, _ key: SettingsKey, _ path: [String]) {
        var words = key.kind.words
        if words.hasSuffix(",") { words.removeLast() }
        report.error(path, "\(SettingsUnits.excerpt(text)) cannot be used here; right would be \(words)")
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x46, 0x61...0x66: true
        default: false
        }
    }

    private mutating func duration(
        _ text: String, _ range: ClosedRange<Duration>, _ key: SettingsKey, _ path: [String]
    ) {
        guard let duration = SettingsUnits.duration(text) else { return refuse(text, key, path) }
        guard range.contains(duration) else {
            let bounds = "\(SettingsUnits.text(range.lowerBound)) to \(SettingsUnits.text(range.upperBound))"
            return report.error(path, "\(text) is out of bounds; \(bounds) would be right")
        }
        keep(.duration(duration), path)
    }

    private mutating func size(_ text: String, _ range: ClosedRange<Int>, _ key: SettingsKey, _ path: [String]) {
        guard let size = SettingsUnits.size(text) else { return refuse(text, key, path) }
        guard range.contains(size) else {
            let bounds =
                "\(SettingsUnits.text(bytes: range.lowerBound)) to \(SettingsUnits.text(bytes: range.upperBound))"
            return report.error(path, "\(text) is out of bounds; \(bounds) would be right")
        }
        keep(.number(size), path)
    }

    private mutating func choice(_ text: String, _ words: [String], _ later: [String], _ path: [String]) {
        if words.contains(text) { return keep(.text(text), path) }
        let right = words.map { "\"\($0)\"" }.joined(separator: ", ")
        if later.contains(text) {
            return report.error(
                path, "\"\(text)\" is known, but not built yet in this version; \(right) would be right")
        }
        let near = words.first { $0.hasPrefix(text.lowercased()) || SettingsKey.distance($0, text) <= 2 }.map {
            "; did you mean \"\($0)\"?"
        }
        report.error(path, "\(SettingsUnits.excerpt(text)) is none of \(right)\(near ?? "")")
    }

    /// The routes that the gateway itself answers.
    static let takenRoutes = ["/health", "/metrics", "/dashboard", "/sse", "/messages", "/.well-known", "/admin"]

    private mutating func route(_ text: String, _ path: [String]) {
        let isPlain = text.utf8.allSatisfy { SettingsUnits.isNameByte($0) || "/.~".utf8.contains($0) }
        guard text.hasPrefix("/"), text.utf8.count > 1, !text.hasSuffix("/"), !text.contains("//"), isPlain else {
            return report.error(
                path,
                """
                \(SettingsUnits.excerpt(text)) is not a plain path; \"/mcp\" would be right: one slash before \
                each part
                """
            )
        }
        if let taken = Self.takenRoutes.first(where: { text == $0 || text.hasPrefix($0 + "/") }) {
            return report.error(path, "\(taken) is the gateway's own; another path would be right, such as \"/mcp\"")
        }
        keep(.text(text), path)
    }

    private mutating func link(_ text: String, _ path: [String]) {
        let scheme = ["http://", "https://"].first { text.lowercased().hasPrefix($0) }
        guard let scheme else {
            return report.error(
                path, "this is not an http:// or https:// address; \"https://erp.example/mcp\" would be right")
        }
        let rest = text.dropFirst(scheme.count)
        let authority = rest.prefix { !"/?#".contains($0) }
        if authority.contains("@") {
            // Whoever has no headers of its own needs something in front that adds them.
            let remedy =
                path.first == "upstreams"
                ? "put it into headers = { Authorization = \"…\" }"
                : "name something without one, such as a proxy of this machine that adds it"
            return report.error(path, "a user or password in the address ends up in logs; \(remedy)")
        }
        let colon = authority.hasSuffix("]") ? nil : authority.lastIndex(of: ":")
        let port = colon.map { authority[authority.index(after: $0)...] }
        let isPortRight = port.map {
            $0.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } && (1...65_535).contains(Int($0) ?? 0)
        }
        guard !authority.prefix(upTo: colon ?? authority.endIndex).isEmpty, isPortRight ?? true else {
            return report.error(
                path, "the address names no host, or a port that is none; \"http://host:8081/mcp\" would be right")
        }
        guard !rest.contains("#"), !rest.contains(" ") else {
            return report.error(path, "an address of a server has no \"#\" and no spaces; remove them")
        }
        keep(.text(text), path)
    }

    private mutating func prefix(_ text: String, _ path: [String]) {
        guard text.utf8.allSatisfy(SettingsUnits.isNameByte), text.utf8.count <= 40 else {
            return report.error(
                path, "not a prefix clients can use; at most 40 letters, digits, - and _ would be right")
        }
        keep(.text(text), path)
    }

    private mutating func place(_ text: String, _ key: SettingsKey, _ path: [String]) {
        guard !text.isEmpty else { return report.error(path, "this is empty; a path in quotes would be right") }
        if let scheme = ["https://", "http://", "oci://"].first(where: { text.hasPrefix($0) }) {
            return report.error(
                path,
                """
                \(scheme) references are known, but not built yet in this version; the path of a local file \
                would be right
                """
            )
        }
        guard !text.hasPrefix("~") else {
            return report.error(path, "~ is a word of the shell; \"${HOME}\(text.dropFirst())\" would be right")
        }
        let place = SettingsUnits.absolute(text, in: folder)
        let kind = files.kind(place)
        switch key.kind {
        case .file:
            if kind == .absent {
                report.absence(path, "there is no file \(place); make it, or mend the path")
            } else if kind != .file {
                report.error(path, "\(place) is not a regular file; the path of one would be right")
            } else if !files.isReadable(place) {
                report.absence(path, "this user may not read \(place); change its owner or mode")
            }
        case .directory:
            if kind == .absent {
                report.absence(path, "there is no directory \(place); make it, or mend the path")
            } else if kind != .directory {
                report.error(path, "\(place) is not a directory; the path of one would be right")
            }
        case .madeDirectory where kind == .file || kind == .other:
            report.error(path, "\(place) is there and not a directory; another path would be right")
        case .socket where place.utf8.count > 107:
            report.error(path, "\(place) has \(place.utf8.count) bytes; at most 107 fit into the address of a socket")
        case .socket where kind == .directory || kind == .file:
            report.error(path, "\(place) is there and not a socket; another path would be right")
        default: break
        }
        keep(.text(place), path)
    }
}
