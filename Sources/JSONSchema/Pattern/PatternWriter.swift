// Licensed under the Apache License 2.0; see LICENSE.

/// A parsed pattern.
indirect enum PatternPiece {
    case scalar(Unicode.Scalar)
    case oneOf(Int)
    case only(Pattern.Condition)
    case sequence([PatternPiece])
    case either([PatternPiece])
    /// From `min` to `max` times; nil is without end.
    case repeated(PatternPiece, min: Int, max: Int?)

    var isAnchored: Bool {
        switch self {
        case .only(let condition): condition == .start
        case .sequence(let pieces): pieces.first?.isAnchored ?? false
        case .either(let pieces): pieces.allSatisfy(\.isAnchored)
        case .repeated, .scalar, .oneOf: false
        }
    }
}

/// Writes the program of a piece.
struct PatternWriter {
    let sizeMax: Int
    private(set) var program: [Pattern.Instruction] = []

    init(sizeMax: Int) { self.sizeMax = sizeMax }

    mutating func append(_ instruction: Pattern.Instruction) throws(PatternProblem) {
        guard program.count < sizeMax else { throw .unsupported("it is too large") }
        program.append(instruction)
    }

    mutating func write(_ piece: PatternPiece) throws(PatternProblem) {
        switch piece {
        case .scalar(let scalar): try append(.scalar(scalar))
        case .oneOf(let number): try append(.oneOf(number))
        case .only(let condition): try append(.only(condition))
        case .sequence(let pieces): for piece in pieces { try write(piece) }
        case .either(let pieces): try write(either: pieces)
        case .repeated(let piece, let min, let max): try write(piece, min: min, max: max)
        }
    }

    private mutating func write(either pieces: [PatternPiece]) throws(PatternProblem) {
        var jumps: [Int] = []
        for (index, piece) in pieces.enumerated() {
            guard index < pieces.count - 1 else {
                try write(piece)
                break
            }
            let split = program.count
            try append(.jump(0))
            try write(piece)
            jumps.append(program.count)
            try append(.jump(0))
            program[split] = .split(split + 1, program.count)
        }
        for jump in jumps { program[jump] = .jump(program.count) }
    }

    private mutating func write(_ piece: PatternPiece, min: Int, max: Int?) throws(PatternProblem) {
        for _ in 0..<min {
            let start = program.count
            try write(piece)
            // Nothing, a billion times, is nothing.
            guard program.count > start else { return }
        }
        guard let max else {
            let split = program.count
            try append(.jump(0))
            try write(piece)
            try append(.jump(split))
            program[split] = .split(split + 1, program.count)
            return
        }
        var splits: [Int] = []
        for _ in min..<max {
            splits.append(program.count)
            try append(.jump(0))
            try write(piece)
        }
        for split in splits { program[split] = .split(split + 1, program.count) }
    }
}
