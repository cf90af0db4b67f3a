// Licensed under the Apache License 2.0; see LICENSE.

internal import Outbound

/// What the configuration gives to an upstream and nobody may read elsewhere: the values of its headers and variables.
///
/// A server that refuses something likes to repeat what it was shown, and its words come into logs, rows and `/health`.
/// So whatever takes up words of an upstream has them go through here. Only failures do.
struct KnownSecrets: Sendable {
    /// The longest first, so that of two that begin alike the whole is hidden.
    private let values: [[UInt8]]

    /// What is shorter is no secret, and is a part of many words.
    private static let bytesMin = 6
    /// What every process gets. Their values are places and names.
    private static let plainVariables: Set<String> = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"]
    private static let mask = Array("***".utf8)

    init(_ texts: [String] = []) {
        var found: Set<[UInt8]> = []
        for text in texts {
            // Of `Bearer SECRET` a server may well repeat the second word alone.
            let secret = text.drop { $0 != " " }.drop { $0 == " " }
            for part in [text[...], secret] where part.utf8.count >= Self.bytesMin { found.insert(Array(part.utf8)) }
        }
        values = found.sorted { $0.count > $1.count }
    }

    init(of command: ChildCommand) {
        self.init(command.environment.filter { !Self.plainVariables.contains($0.key) }.map { $0.value })
    }

    init(of place: UpstreamSettings.Place) {
        switch place {
        case .http(_, let headers): self.init(headers.map { $0.value })
        case .stdio(let command): self.init(of: command)
        }
    }

    /// The text with `***` in the place of each of them, at most about so many bytes of it. The cut is made here: a
    /// secret that was cut through before would not be found.
    func hidden(in text: String, bytesMax: Int) -> String {
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        var index = 0
        // Not cut in the middle of a character.
        while index < bytes.count, out.count < bytesMax || bytes[index] & 0xC0 == 0x80 {
            if let value = values.first(where: { bytes[index...].starts(with: $0) }) {
                out += Self.mask
                index += value.count
            } else {
                out.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
