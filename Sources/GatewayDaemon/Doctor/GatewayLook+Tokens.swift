// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

extension GatewayLook {
    /// Those that run out soon, and those that have lately: whose programs are just being refused.
    static func tokens(_ all: [JSONValue], now: Int64, _ commands: NextCommands) -> [Finding] {
        func at(_ milliseconds: Int64) -> String { WallTime.text(milliseconds: now + milliseconds) }
        func making(_ name: String, like one: JSONValue) -> String {
            let roles = (one["roles"]?.arrayValue ?? []).compactMap(\.stringValue).map { " --role " + $0 }.joined()
            return commands.verb("token new \(NextCommands.quoted(name))\(roles)")
        }
        let day: Int64 = 86_400_000
        var findings: [Finding] = []
        for one in all {
            let (name, ends) = (one["name"].shown, one["expires_at"].shown)
            let minute = ends.prefix(16) + " UTC"
            if ends.isWithin(at(0), at(14 * day)) {
                // A name that is in force cannot be given twice.
                findings.append(
                    Finding(
                        .attention, "tokens", "that of \(name) runs out at \(minute); a second one lets it change over",
                        next: making(name.prefix(62) + "-2", like: one)))
            } else if ends.isWithin(at(-7 * day), at(0)) {
                findings.append(
                    Finding(
                        .attention, "tokens", "that of \(name) has run out at \(minute): whoever shows it is refused",
                        next: making(name, like: one)))
            }
        }
        let good = all.count { $0["expired"]?.boolValue != true }
        if findings.isEmpty, good > 0 {
            let words = "\(NumberText.count(good, "token")), none runs out within 14 days"
            findings.append(Finding(.well, "tokens", words))
        }
        return findings
    }
}

extension String {
    /// For times, which sort as text.
    fileprivate func isWithin(_ low: String, _ high: String) -> Bool { !isEmpty && self >= low && self <= high }
}
