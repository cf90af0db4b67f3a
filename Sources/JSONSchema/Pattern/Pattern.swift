// Licensed under the Apache License 2.0; see LICENSE.

/// A regular expression as JSON Schema recommends them (the common part of ECMA-262), that is searched in time
/// proportional to the text.
///
/// Literals, `.`, classes, `\d \w \s \b` and their opposites, `\xXX`, `\uXXXX`, `\p{…}` with general categories,
/// anchors, groups, alternation and repetition. Texts are sequences of code points. There is no backtracking: all
/// ways through the pattern are followed at the same time, so that `(a*)*b` costs what `ab` costs. Look-around,
/// back-references and what other dialects added cannot be run that way and are refused as unsupported.
struct Pattern: Sendable {
    /// What the machine does at one place of the program.
    enum Instruction: Sendable {
        /// Goes on behind this code point.
        case scalar(Unicode.Scalar)
        /// Goes on behind a code point of the class with this number.
        case oneOf(Int)
        /// Goes on at both places.
        case split(Int, Int)
        case jump(Int)
        /// Goes on where the condition holds.
        case only(Condition)
        case matched
    }

    /// What holds between two code points.
    enum Condition: Sendable {
        case start
        case end
        case wordEdge
        case noWordEdge
    }

    /// Longest program. Each repetition of `x{n,m}` is a copy of x.
    static let sizeMax = 10_000

    /// As it was written.
    let text: String
    let program: [Instruction]
    let classes: [ScalarClass]
    /// A match can only begin at the beginning of the text.
    let isAnchored: Bool

    var size: Int { program.count }

    /// Compiles. Cost is bounded by the length of the text and by `sizeMax`, the longest program.
    init(_ text: String, sizeMax: Int = Pattern.sizeMax) throws(PatternProblem) {
        self.text = text
        var parser = PatternParser(text)
        let piece = try parser.parse()
        var writer = PatternWriter(sizeMax: sizeMax)
        try writer.write(piece)
        try writer.append(.matched)
        program = writer.program
        classes = parser.classes
        isAnchored = piece.isAnchored
    }

    enum Outcome {
        case found
        case missing
        /// The effort was used up before it was known.
        case exhausted
    }

    /// Whether the pattern matches somewhere in the text. `effort` is lowered by the states tried.
    func search(_ text: String, effort: inout Int) -> Outcome {
        var machine = PatternMachine(self)
        return machine.run(text, effort: &effort)
    }
}

/// Why a pattern cannot be run.
enum PatternProblem: Error, Equatable {
    /// No dialect would take it.
    case malformed(String)
    /// It may be right, but not for this engine.
    case unsupported(String)
}
