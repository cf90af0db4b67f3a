// Licensed under the Apache License 2.0; see LICENSE.

/// Escapes and classes of characters.
extension PatternParser {
    mutating func parseEscape() throws(PatternProblem) -> PatternPiece {
        guard let scalar = next() else { throw .malformed("it ends with a backslash") }
        switch scalar {
        case "b": return .only(.wordEdge)
        case "B": return .only(.noWordEdge)
        case "d", "D", "w", "W", "s", "S":
            return named(scalar) { ScalarClass(ScalarClass.ranges(escape: scalar) ?? []) }
        case "p", "P": return add(ScalarClass([], properties: [try readProperty(isNegated: scalar == "P")]))
        default: return .scalar(try readEscapedScalar(scalar))
        }
    }

    /// The code point that an escape stands for, after its first character.
    private mutating func readEscapedScalar(_ first: Unicode.Scalar) throws(PatternProblem) -> Unicode.Scalar {
        switch first {
        case "t": return "\t"
        case "n": return "\n"
        case "v": return "\u{b}"
        case "f": return "\u{c}"
        case "r": return "\r"
        case "0":
            if let digit = peek, (0x30...0x39).contains(digit.value) { throw .unsupported("it has an octal escape") }
            return "\0"
        case "c":
            guard let letter = next(), (0x61...0x7a).contains(letter.value | 0x20),
                let control = Unicode.Scalar(letter.value & 0x1f)
            else { throw .malformed("\\c needs a letter") }
            return control
        case "x":
            guard let value = readHex(2), let scalar = Unicode.Scalar(value) else {
                throw .malformed("\\x needs two hexadecimal digits")
            }
            return scalar
        case "u": return try readUnicode()
        default:
            // A sign stands for itself; a letter or a digit means something in some other dialect.
            guard !ScalarClass.word.contains(first) || first == "_" else { throw .unsupported("it has \\\(first)") }
            return first
        }
    }

    /// After `\u`: four digits, two halves of a pair, or digits in braces.
    private mutating func readUnicode() throws(PatternProblem) -> Unicode.Scalar {
        let problem = PatternProblem.malformed("\\u needs four hexadecimal digits of a code point")
        if take("{") {
            var value: UInt32 = 0
            while let digit = peek.flatMap(Self.hexDigit) {
                value = min(value << 4 | digit, 0x11_0000)
                position += 1
            }
            guard take("}"), let scalar = Unicode.Scalar(value) else { throw problem }
            return scalar
        }
        guard let first = readHex(4) else { throw problem }
        if (0xd800..<0xdc00).contains(first), take("\\"), take("u"), let second = readHex(4),
            (0xdc00..<0xe000).contains(second)
        {
            let value = 0x1_0000 + (first - 0xd800) << 10 + (second - 0xdc00)
            guard let scalar = Unicode.Scalar(value) else { throw problem }
            return scalar
        }
        // Half of a pair alone is in no text that was JSON.
        guard let scalar = Unicode.Scalar(first) else { throw .unsupported("it has half of a surrogate pair") }
        return scalar
    }

    private mutating func readHex(_ count: Int) -> UInt32? {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let digit = peek.flatMap(Self.hexDigit) else { return nil }
            value = value << 4 | digit
            position += 1
        }
        return value
    }

    private static func hexDigit(_ scalar: Unicode.Scalar) -> UInt32? {
        switch scalar.value {
        case 0x30...0x39: scalar.value - 0x30
        case 0x41...0x46: scalar.value - 0x41 + 10
        case 0x61...0x66: scalar.value - 0x61 + 10
        default: nil
        }
    }

    /// After `\p`: a name in braces.
    private mutating func readProperty(isNegated: Bool) throws(PatternProblem) -> ScalarProperty {
        guard take("{") else { throw .unsupported("\\p has no braces") }
        var name = ""
        while let scalar = next(), scalar != "}" { name.unicodeScalars.append(scalar) }
        guard let property = ScalarProperty(name, isNegated: isNegated) else {
            throw .unsupported("it has a property that is not known here")
        }
        return property
    }

    // MARK: Classes

    /// After `[`.
    mutating func parseClass() throws(PatternProblem) -> PatternPiece {
        let isNegated = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        var properties: [ScalarProperty] = []
        while true {
            guard let scalar = next() else { throw .malformed("a [ is not closed") }
            if scalar == "]" { break }
            guard let first = try readClassPart(scalar, &ranges, &properties) else { continue }
            guard peek == "-", position + 1 < scalars.count, scalars[position + 1] != "]" else {
                ranges.append(first.value...first.value)
                continue
            }
            position += 1
            guard let end = next(), let last = try readClassPart(end, &ranges, &properties) else {
                // As in [a-\d]: the dash is a dash.
                ranges += [first.value...first.value, 0x2d...0x2d]
                continue
            }
            guard first.value <= last.value else { throw .malformed("a range is reversed") }
            ranges.append(first.value...last.value)
        }
        return add(ScalarClass(ranges, properties: properties, isNegated: isNegated))
    }

    /// A single code point, or nil where a whole set was added.
    private mutating func readClassPart(
        _ scalar: Unicode.Scalar, _ ranges: inout [ClosedRange<UInt32>], _ properties: inout [ScalarProperty]
    ) throws(PatternProblem) -> Unicode.Scalar? {
        guard scalar == "\\" else { return scalar }
        guard let escape = next() else { throw .malformed("it ends with a backslash") }
        if let set = ScalarClass.ranges(escape: escape) {
            ranges += set
            return nil
        }
        switch escape {
        case "b": return "\u{8}"
        case "p", "P":
            properties.append(try readProperty(isNegated: escape == "P"))
            return nil
        default: return try readEscapedScalar(escape)
        }
    }
}
