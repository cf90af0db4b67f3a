// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// What operators type as times and rates.
package enum OrderWords {
    /// A time from one second on, such as `30m`, in the words the gateway takes; nil when it is none.
    package static func lasting(_ text: String) -> String? {
        guard let duration = SettingsUnits.duration(text), duration >= .seconds(1),
            duration.components.attoseconds == 0
        else { return nil }
        let words = SettingsUnits.text(duration)
        // The digits an order may have.
        return words.utf8.count <= 7 ? words : nil
    }

    /// A time as before, of a day at most; nil when it is longer.
    package static func lastingADay(_ text: String) -> String? {
        lasting(text).flatMap { words in
            SettingsUnits.duration(words).flatMap { $0 <= .seconds(86_400) ? words : nil }
        }
    }

    /// How often: `10`, `0.5`, `10/s`, `30/m`, `100/h`; nil when it is nothing that can be a limit.
    package static func perSecond(_ text: String) -> Double? {
        let rate = decimal(text) ?? SettingsUnits.rate(text)?.perSecond
        return rate.flatMap { (0.001...1_000_000).contains($0) ? $0 : nil }
    }

    /// A time: `2s`, `500ms`, or seconds, such as `0.5` and `0.5s`; nil when it is none, or out of range.
    package static func duration(_ text: String, in range: ClosedRange<Duration>) -> Duration? {
        let seconds = decimal(text) ?? (text.hasSuffix("s") ? decimal(text.dropLast()) : nil)
        let duration = seconds.map { Duration.milliseconds(Int(min($0, 1e9) * 1_000)) } ?? SettingsUnits.duration(text)
        return duration.flatMap { range.contains($0) ? $0 : nil }
    }

    /// Digits, perhaps with a point among them: none of the other ways in which a number can be written.
    private static func decimal(_ text: some StringProtocol) -> Double? {
        guard let first = text.utf8.first, (0x30...0x39).contains(first),
            text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") })
        else { return nil }
        return Double(text)
    }
}
