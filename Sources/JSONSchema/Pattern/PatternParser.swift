// Licensed under the Apache License 2.0; see LICENSE.

/// Reads the text of a pattern.
struct PatternParser {
    /// Deepest nesting of groups.
    private static let depthMax = 100
    /// Largest number of a repetition; its copies would not fit anyway.
    private static let repetitionMax = 100_000

    let scalars: [Unicode.Scalar]
    var position = 0
    private(set) var classes: [ScalarClass] = []
    /// Classes that are often used get one number each.
    private var numbers: [Unicode.Scalar: Int] = [:]

    init(_ text: String) { scalars = Array(text.unicodeScalars) }

    mutating func parse() throws(PatternProblem) -> PatternPiece {
        let piece = try parseEither(depth: 0)
        guard position == scalars.count else { throw .malformed("a ) has no (") }
        return piece
    }

    // MARK: Structure

    private mutating func parseEither(depth: Int) throws(PatternProblem) -> PatternPiece {
        guard depth <= Self.depthMax else { throw .unsupported("groups are nested too deep") }
        var pieces = [try parseSequence(depth: depth)]
        while take("|") { pieces.append(try parseSequence(depth: depth)) }
        return pieces.count == 1 ? pieces[0] : .either(pieces)
    }

    private mutating func parseSequence(depth: Int) throws(PatternProblem) -> PatternPiece {
        var pieces: [PatternPiece] = []
        while let scalar = peek, scalar != "|", scalar != ")" {
            let piece = try parsePiece(depth: depth)
            pieces.append(try parseRepetition(of: piece))
        }
        return pieces.count == 1 ? pieces[0] : .sequence(pieces)
    }

    private mutating func parsePiece(depth: Int) throws(PatternProblem) -> PatternPiece {
        guard let scalar = next() else { return .sequence([]) }
        switch scalar {
        case "(": return try parseGroup(depth: depth)
        case "[": return try parseClass()
        case ".": return named(".") { ScalarClass(ScalarClass.lineEnds, isNegated: true) }
        case "^": return .only(.start)
        case "$": return .only(.end)
        case "\\": return try parseEscape()
        case "*", "+", "?": throw .malformed("there is nothing before \(scalar) to repeat")
        case "{":
            position -= 1
            if try readBounds() != nil { throw .malformed("there is nothing before { to repeat") }
            position += 1
            return .scalar(scalar)
        default: return .scalar(scalar)
        }
    }

    private mutating func parseGroup(depth: Int) throws(PatternProblem) -> PatternPiece {
        if take("?") {
            switch next() {
            case ":": break
            // A name, or looking back: (?<name>…), (?<=…), (?<!…).
            case "<":
                guard let first = peek, first != "=", first != "!" else { throw .unsupported("it looks back") }
                while let scalar = next(), scalar != ">" {
                    guard ScalarClass.word.contains(scalar) || scalar.value > 127 || scalar == "$" else {
                        throw .malformed("the name of a group is not closed")
                    }
                }
            default: throw .unsupported("it looks ahead or sets options")
            }
        }
        let piece = try parseEither(depth: depth + 1)
        guard take(")") else { throw .malformed("a ( is not closed") }
        return piece
    }

    private mutating func parseRepetition(of piece: PatternPiece) throws(PatternProblem) -> PatternPiece {
        let bounds: (min: Int, max: Int?)
        switch peek {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        case "{":
            guard let read = try readBounds() else { return piece }
            bounds = read
        default: return piece
        }
        if peek == "*" || peek == "+" || peek == "?" { position += 1 }
        // Lazy: the same texts match. A second sign means something in other dialects only.
        _ = take("?")
        if peek == "*" || peek == "+" || peek == "?" { throw .unsupported("a repetition is itself repeated") }
        return .repeated(piece, min: bounds.min, max: bounds.max)
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`. Nil and no step forward when the brace is only a brace.
    private mutating func readBounds() throws(PatternProblem) -> (min: Int, max: Int?)? {
        let start = position
        position += 1
        guard let low = readNumber() else {
            // Other dialects read {,m} as {0,m}; here it would be text. Better not to judge by it.
            if take(","), readNumber() != nil, take("}") { throw .unsupported("a repetition has no lower bound") }
            position = start
            return nil
        }
        var high: Int? = low
        if take(",") { high = readNumber() }
        guard take("}") else {
            position = start
            return nil
        }
        guard low <= Self.repetitionMax, high ?? 0 <= Self.repetitionMax else { throw .unsupported("it is too large") }
        if let high, high < low { throw .malformed("the bounds of a repetition are reversed") }
        return (low, high)
    }

    private mutating func readNumber() -> Int? {
        var value: Int?
        while let scalar = peek, (0x30...0x39).contains(scalar.value) {
            value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), Self.repetitionMax + 1)
            position += 1
        }
        return value
    }

    // MARK: Reading

    var peek: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    mutating func next() -> Unicode.Scalar? {
        guard position < scalars.count else { return nil }
        position += 1
        return scalars[position - 1]
    }

    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        position += 1
        return true
    }

    mutating func add(_ scalarClass: ScalarClass) -> PatternPiece {
        classes.append(scalarClass)
        return .oneOf(classes.count - 1)
    }

    mutating func named(_ sign: Unicode.Scalar, _ make: () -> ScalarClass) -> PatternPiece {
        if let number = numbers[sign] { return .oneOf(number) }
        classes.append(make())
        numbers[sign] = classes.count - 1
        return .oneOf(classes.count - 1)
    }
}
