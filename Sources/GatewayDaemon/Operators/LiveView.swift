// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire

/// What a live screen shows, drawn from one answer after the other. Pure: the same answers give the same lines.
struct LiveView: Sendable {
    /// Calls per second, the newest last.
    private var rates: [Double] = []
    private var last: (status: JSONValue, at: Moment)?
    private let bars: [Character]
    private let interval: Duration

    /// As many columns as anybody's terminal has.
    static let ratesMax = 240
    private static let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    private static let signs: [Character] = ["_", ".", "-", "=", "+", "*", "#", "@"]

    /// - Parameter hasBlocks: the terminal shows more than ASCII.
    init(interval: Duration, hasBlocks: Bool) {
        self.interval = interval
        bars = hasBlocks ? Self.blocks : Self.signs
    }

    mutating func take(_ status: JSONValue, at now: Moment) {
        last = (status, now)
        rates.append(status["last_minute"]?["calls_per_second"]?.doubleValue ?? 0)
        if rates.count > Self.ratesMax { rates.removeFirst(rates.count - Self.ratesMax) }
    }

    /// - Parameters:
    ///   - trouble: why there is no newer answer; nil when there is.
    ///   - wall: milliseconds since 1970 UTC.
    func lines(trouble: String?, at now: Moment, wall: Int64, columns: Int) -> [ScreenLine] {
        let clock = WallTime.text(milliseconds: wall).dropFirst(11).prefix(8)
        let every = "\(clock) UTC, every \(SettingsUnits.text(interval)), q ends"
        guard let last else { return [ScreenLine(trouble ?? "", .bad), ScreenLine(every, .faint)] }
        var lines = StatusScreen.lines(last.status, showsAll: false, pulse: pulse(columns: columns))
        if let trouble {
            let age = AgeText.of(seconds: Int(now.since(last.at).milliseconds / 1_000))
            return [
                ScreenLine(trouble, .bad), ScreenLine("\(every); it is asked again. \(age) ago:", .faint), ScreenLine(),
            ] + lines.map { ScreenLine($0.plain, .faint) }
        }
        let gap = columns - lines[0].plain.count - every.count
        lines[0].append(String(repeating: " ", count: max(2, gap)))
        lines[0].append(every, .faint)
        return lines
    }

    /// How the rate was lately, a column for each answer.
    private func pulse(columns: Int) -> ScreenLine {
        let highest = rates.max() ?? 0
        let label = " up to \(NumberText.of(highest))/s"
        let shown = rates.suffix(max(1, columns - StatusScreen.labelWidth - label.count))
        let row = shown.map { rate in
            highest > 0 ? bars[min(bars.count - 1, Int(rate / highest * Double(bars.count)))] : bars[0]
        }
        var line = StatusScreen.fact("rate", String(row), .good)
        line.append(label, .faint)
        return line
    }
}
