// Licensed under the Apache License 2.0; see LICENSE.

/// A JSON number exactly as it is written: significant digits times a power of ten.
///
/// There is one representation for each number: no zeros at the end of the digits, and the short form where they fit.
/// So the synthesised equality is equality of numbers, and neither 0.1 nor 9007199254740993 is rounded.
struct Decimal: Hashable, Sendable {
    enum Digits: Hashable, Sendable {
        /// Up to 18 digits.
        case short(UInt64)
        /// More than 18 digits, each 0...9.
        case long([UInt8])
    }

    private(set) var isNegative = false
    private(set) var digits = Digits.short(0)
    private(set) var exponent = 0

    /// Digits a short form holds: ten times as much still fits into 64 bits.
    private static let shortMax = 18
    /// Exponents beyond are taken for this one; no sum of two of them overflows.
    private static let exponentMax = 1_000_000_000_000

    /// Reads the text of a JSON number, which the scanner has accepted.
    init(_ text: String) {
        var exponent = 0
        var value: UInt64 = 0
        var isShort = text.utf8.count <= Self.shortMax
        var long: [UInt8] = []
        var isFraction = false
        var bytes = text.utf8.makeIterator()
        while let byte = bytes.next() {
            switch byte {
            case UInt8(ascii: "-"): isNegative = true
            case UInt8(ascii: "."): isFraction = true
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if isFraction { exponent -= 1 }
                if isShort {
                    value = value * 10 + UInt64(byte - 0x30)
                } else if byte != 0x30 || !long.isEmpty {
                    long.append(byte - 0x30)
                }
            case UInt8(ascii: "e"), UInt8(ascii: "E"): exponent += Self.readExponent(&bytes)
            default: break
            }
        }
        if !isShort {
            while long.last == 0 {
                long.removeLast()
                exponent += 1
            }
            if long.count <= Self.shortMax {
                isShort = true
                for digit in long { value = value * 10 + UInt64(digit) }
            }
        }
        if isShort {
            while value != 0, value % 10 == 0 {
                value /= 10
                exponent += 1
            }
            digits = .short(value)
            if value == 0 { (isNegative, exponent) = (false, 0) }
        } else {
            digits = .long(long)
        }
        self.exponent = exponent
    }

    private static func readExponent(_ bytes: inout String.UTF8View.Iterator) -> Int {
        var isNegative = false
        var value = 0
        while let byte = bytes.next() {
            if byte == UInt8(ascii: "-") { isNegative = true }
            guard (0x30...0x39).contains(byte) else { continue }
            value = min(value * 10 + Int(byte - 0x30), exponentMax)
        }
        return isNegative ? -value : value
    }

    private var isZero: Bool { digits == .short(0) }

    /// No fraction; 1.0 and 1e3 have none.
    var isInteger: Bool { exponent >= 0 }

    /// The number as a count, when it is an integer of at least zero. What no count can reach is the largest one.
    var count: Int? {
        guard !isNegative, isInteger else { return nil }
        guard case .short(var value) = digits, exponent <= Self.shortMax else { return Int.max }
        for _ in 0..<exponent {
            let (product, isOver) = value.multipliedReportingOverflow(by: 10)
            guard !isOver else { return Int.max }
            value = product
        }
        return Int(exactly: value) ?? Int.max
    }

    // MARK: Order

    static func < (left: Decimal, right: Decimal) -> Bool {
        guard left.isNegative == right.isNegative else { return left.isNegative }
        return left.isNegative ? isSmaller(right, left) : isSmaller(left, right)
    }

    /// Compares without sign: first where the first digit stands, then digit by digit.
    private static func isSmaller(_ left: Decimal, _ right: Decimal) -> Bool {
        if left.isZero || right.isZero { return left.isZero && !right.isZero }
        if case .short(let a) = left.digits, case .short(let b) = right.digits {
            let (alignedLeft, alignedRight) = (aligned(a), aligned(b))
            let leftTop = left.exponent - alignedLeft.shift
            let rightTop = right.exponent - alignedRight.shift
            return (leftTop, alignedLeft.value) < (rightTop, alignedRight.value)
        }
        let (leftDigits, rightDigits) = (left.digitList, right.digitList)
        let (leftTop, rightTop) = (left.exponent + leftDigits.count, right.exponent + rightDigits.count)
        guard leftTop == rightTop else { return leftTop < rightTop }
        // No zeros at the end, so the shorter of two that begin alike is the smaller.
        return leftDigits.lexicographicallyPrecedes(rightDigits)
    }

    /// The digits moved so far to the left that there are 18 of them.
    private static func aligned(_ digits: UInt64) -> (value: UInt64, shift: Int) {
        var (value, shift) = (digits, 0)
        while value < 100_000_000_000_000_000 {
            value *= 10
            shift += 1
        }
        return (value, shift)
    }

    private var digitList: [UInt8] {
        switch digits {
        case .long(let list): return list
        case .short(var value):
            var list: [UInt8] = []
            while value > 0 {
                list.append(UInt8(value % 10))
                value /= 10
            }
            list.reverse()
            return list
        }
    }

    // MARK: Multiples

    /// Whether a number can be a divisor here: positive and of at most 18 digits.
    var isDivisor: Bool {
        guard case .short(let value) = digits else { return false }
        return value > 0 && !isNegative
    }

    /// Whether this is a whole multiple of `divisor`, in exact arithmetic.
    func isMultiple(of divisor: Decimal) -> Bool {
        guard !isZero else { return true }
        guard case .short(let modulus) = divisor.digits, modulus > 0 else { return false }
        // Fewer trailing zeros than the divisor: the last digit stands below anything the divisor can reach.
        guard exponent >= divisor.exponent else { return false }
        let power = Self.powerOfTen(exponent - divisor.exponent, modulo: modulus)
        return Self.product(remainder(by: modulus), power, modulo: modulus) == 0
    }

    private func remainder(by modulus: UInt64) -> UInt64 {
        switch digits {
        case .short(let value): value % modulus
        case .long(let list): list.reduce(0) { ($0 * 10 + UInt64($1)) % modulus }
        }
    }

    private static func powerOfTen(_ exponent: Int, modulo modulus: UInt64) -> UInt64 {
        var (result, base, left) = (1 % modulus, 10 % modulus, exponent)
        while left > 0 {
            if left & 1 == 1 { result = product(result, base, modulo: modulus) }
            base = product(base, base, modulo: modulus)
            left >>= 1
        }
        return result
    }

    /// Both factors are below the modulus, so the quotient fits.
    private static func product(_ left: UInt64, _ right: UInt64, modulo modulus: UInt64) -> UInt64 {
        let full = left.multipliedFullWidth(by: right)
        return modulus.dividingFullWidth(full).remainder
    }
}
