// Licensed under the Apache License 2.0; see LICENSE.

/// Decimal numbers as text. Embedded Swift leaves this out, because not every tool needs it and an exact one is large.
/// This one is short, and right to about fifteen digits.
enum Decimal {
    /// Reads a number that was already checked to be one of JSON.
    static func parse(_ text: ArraySlice<UInt8>) -> Double {
        var digits: UInt64 = 0
        var scale = 0
        var exponent = 0
        var isNegative = false
        var isExponentNegative = false
        var isFraction = false
        var isExponent = false
        for byte in text {
            switch byte {
            case UInt8(ascii: "-"):
                if isExponent { isExponentNegative = true } else { isNegative = true }
            case UInt8(ascii: "."): isFraction = true
            case UInt8(ascii: "e"), UInt8(ascii: "E"): isExponent = true
            case UInt8(ascii: "+"): break
            default:
                let digit = UInt64(byte - UInt8(ascii: "0"))
                if isExponent {
                    exponent = min(exponent * 10 + Int(digit), 100_000)
                } else if digits < 100_000_000_000_000_000 {
                    digits = digits &* 10 &+ digit
                    if isFraction { scale -= 1 }
                } else if !isFraction {
                    // Further digits are below the precision of a Double; only the magnitude counts.
                    scale += 1
                }
            }
        }
        if digits == 0 { return isNegative ? -0.0 : 0 }
        let value = scaled(Double(digits), by: scale + (isExponentNegative ? -exponent : exponent))
        return isNegative ? -value : value
    }

    /// Writes a finite number with at most `digits` significant digits (1 to 15), without trailing zeros.
    static func text(_ value: Double, digits: Int) -> Text {
        if value == 0 { return "0" }
        let magnitude = value.magnitude
        var exponent = 0
        var leading = magnitude
        while leading >= 10 {
            leading /= 10
            exponent += 1
        }
        while leading < 1 {
            leading *= 10
            exponent -= 1
        }
        var limit: UInt64 = 1
        for _ in 0..<digits { limit = limit &* 10 }
        var number = UInt64(scaled(magnitude, by: digits - 1 - exponent) + 0.5)
        // The steps above round a little themselves: bring the number back to exactly `digits` digits.
        if number >= limit {
            number = (number &+ 5) / 10
            exponent += 1
        }
        var figures: [UInt8] = []
        while number > 0 {
            figures.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
            number /= 10
        }
        figures.reverse()
        exponent -= digits - figures.count
        while figures.count > 1, figures.last == UInt8(ascii: "0") { figures.removeLast() }
        let sign: Text = value < 0 ? "-" : ""
        return sign + Text(place(figures, exponent))
    }

    /// Sets the point, as people write numbers between a millionth and 10^15, else with an exponent.
    private static func place(_ figures: [UInt8], _ exponent: Int) -> [UInt8] {
        let zero = UInt8(ascii: "0")
        let point = UInt8(ascii: ".")
        if exponent >= 15 || exponent < -6 {
            let fraction = figures.count > 1 ? [point] + figures.dropFirst() : []
            return [figures[0]] + fraction + [UInt8(ascii: "e")] + Text(exponent).bytes
        }
        if exponent < 0 {
            return [zero, point] + [UInt8](repeating: zero, count: -exponent - 1) + figures
        }
        if figures.count <= exponent + 1 {
            return figures + [UInt8](repeating: zero, count: exponent + 1 - figures.count)
        }
        return figures[...exponent] + [point] + figures[(exponent + 1)...]
    }

    /// `value` times ten to the power of `exponent`, in steps that a Double holds exactly.
    private static func scaled(_ value: Double, by exponent: Int) -> Double {
        var value = value
        var rest = exponent.magnitude
        while rest > 0, value != 0, value.isFinite {
            var power = 1.0
            for _ in 0..<min(rest, 22) { power *= 10 }
            value = exponent < 0 ? value / power : value * power
            rest -= min(rest, 22)
        }
        return value
    }
}
