// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPWire

/// The end of a log file, read line by line, in either of its formats.
struct LogLook: Sendable {
    struct Line: Sendable, Equatable {
        /// As it stands there: sorts as text.
        var time: String
        /// `warning`, `info`; for the security log `security` or `auth`.
        var level: String
        /// What happened, without the facts.
        var message: String
        /// The whole line, for a look at its facts.
        var text: Substring = ""

        /// It, and those like it whose lines were left out before it.
        var count: Int {
            // The last of its kind: what a client sent stands before it.
            let marks = [" omitted_before=", "\"omitted_before\":\""]
            guard let end = marks.compactMap({ text.ranges(of: $0).last?.upperBound }).max() else { return 1 }
            let digits = text[end...].prefix { ("0"..."9").contains($0) }
            return 1 + min(Int(digits) ?? 0, 1_000_000)
        }
    }

    /// How much of the end is read.
    private static let bytesMax = 4 << 20

    let lines: [Line]
    /// Why there are none.
    let trouble: String?

    /// - Parameter since: wall milliseconds; older lines are left out.
    init(path: String, since: Int64) {
        let (text, trouble) = Self.tail(path)
        self.trouble = trouble
        let start = WallTime.text(milliseconds: since)
        var lines = text.split(separator: "\n").compactMap(Self.line)
        // Just after a rotation what is asked for is in the file before.
        if lines.first.map({ $0.time > start }) ?? true, let former = Self.former(path) {
            lines = Self.tail(former).text.split(separator: "\n").compactMap(Self.line) + lines
        }
        self.lines = lines.filter { $0.time >= start }
    }

    /// The newest of the files that were put aside, by the gateway itself or by logrotate, as long as it can be read as
    /// it is.
    private static func former(_ path: String) -> String? {
        let folder = SettingsUnits.folder(of: path)
        let name = path.dropFirst(folder.count + 1)
        return MachineLook.names(in: folder)
            .filter { $0.hasPrefix(name + ".") || $0.hasPrefix(name + "-") }.filter { !$0.hasSuffix(".gz") }
            .map { folder + "/" + $0 }
            .max { (MachineLook.changedAt($0) ?? 0) < (MachineLook.changedAt($1) ?? 0) }
    }

    /// How often each thing happened, the most frequent first; those whose lines were left out count too.
    func counts(_ levels: Set<String>) -> [(message: String, count: Int)] {
        var counts: [String: Int] = [:]
        for line in lines where levels.contains(line.level) { counts[line.message, default: 0] += line.count }
        return counts.map { (message: $0.key, count: $0.value) }
            .sorted { ($1.count, $0.message) < ($0.count, $1.message) }
    }

    func count(beginning message: String) -> Int { lines.count { $0.message.hasPrefix(message) } }

    /// `2026-11-23 18:20:01.123Z info  component: message key=value`, `security 2026-11-23 … event key=value`, or JSON.
    static func line(_ text: Substring) -> Line? {
        if text.hasPrefix("{") {
            // A line that is none is left out.
            guard let json = try? JSONValue.parse(Array(text.utf8).span) else { return nil }
            return Line(
                time: String((json["timestamp"]?.stringValue ?? "").dropLast()), level: json["level"].shown,
                message: json["message"].shown, text: text)
        }
        let words = text.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: true)
        guard words.count == 5 else { return nil }
        if words[0] == "security" || words[0] == "auth" {
            return Line(
                time: "\(words[1]) \(words[2].dropLast())", level: String(words[0]), message: String(words[3]),
                text: text)
        }
        return Line(
            time: "\(words[0]) \(words[1].dropLast())", level: String(words[2]), message: message(words[4]), text: text)
    }

    /// Up to the first fact.
    private static func message(_ text: Substring) -> String {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        return words.prefix { word in
            guard let mark = word.firstIndex(of: "="), mark != word.startIndex else { return true }
            return !word[..<mark].utf8.allSatisfy { SettingsUnits.isNameByte($0) }
        }.joined(separator: " ")
    }

    private static func tail(_ path: String) -> (text: String, trouble: String?) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return ("", SystemText.of(errno)) }
        defer { close(descriptor) }
        let end = lseek(descriptor, 0, SEEK_END)
        // A pipe has no end to look for.
        guard end >= 0 else { return ("", "it is no file") }
        let begin = max(0, end - bytesMax)
        var bytes = [UInt8](repeating: 0, count: end - begin)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, $0.count, begin) }
        guard count >= 0 else { return ("", SystemText.of(errno)) }
        let text = String(decoding: bytes.prefix(count), as: UTF8.self)
        // The first line may have been cut in two.
        return (begin == 0 ? text : String(text.drop { $0 != "\n" }), nil)
    }
}
