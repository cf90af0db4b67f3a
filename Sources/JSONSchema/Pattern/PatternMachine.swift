// Licensed under the Apache License 2.0; see LICENSE.

/// Runs a pattern over a text: the set of places in the program that can be reached goes along with the text, code
/// point by code point. Each place is in the set at most once, which bounds the work for each code point.
struct PatternMachine {
    private let pattern: Pattern
    /// Places that wait for a code point.
    private var waiting: [Int] = []
    /// For each place the last round in which it was reached.
    private var reached: [Int]
    private var round = 0
    /// Places still to be looked at; kept between rounds for its storage.
    private var open: [Int] = []
    private var isFound = false
    private var work = 0

    init(_ pattern: Pattern) {
        self.pattern = pattern
        reached = Array(repeating: -1, count: pattern.program.count)
    }

    mutating func run(_ text: String, effort: inout Int) -> Pattern.Outcome {
        // The array of rounds was made for this search.
        work = pattern.program.count / 16
        var scalars = text.unicodeScalars.makeIterator()
        var next = scalars.next()
        enter(0, after: nil, before: next)
        var last: [Int] = []
        while !isFound {
            effort -= work + 1
            work = 0
            guard effort >= 0 else { return .exhausted }
            guard let current = next, !waiting.isEmpty || !pattern.isAnchored else { return .missing }
            next = scalars.next()
            round += 1
            swap(&last, &waiting)
            waiting.removeAll(keepingCapacity: true)
            for place in last where accepts(place, current) { enter(place + 1, after: current, before: next) }
            work += last.count
            if !pattern.isAnchored { enter(0, after: current, before: next) }
        }
        effort -= work
        return .found
    }

    private func accepts(_ place: Int, _ scalar: Unicode.Scalar) -> Bool {
        switch pattern.program[place] {
        case .scalar(let expected): scalar == expected
        case .oneOf(let number): pattern.classes[number].contains(scalar)
        case .split, .jump, .only, .matched: false
        }
    }

    /// Adds a place and all that can be reached from it without a code point.
    private mutating func enter(_ place: Int, after previous: Unicode.Scalar?, before next: Unicode.Scalar?) {
        open.append(place)
        while let place = open.popLast() {
            guard reached[place] != round else { continue }
            reached[place] = round
            work += 1
            switch pattern.program[place] {
            case .scalar, .oneOf: waiting.append(place)
            case .matched: isFound = true
            case .jump(let target): open.append(target)
            case .split(let first, let second):
                open.append(second)
                open.append(first)
            case .only(let condition):
                if Self.holds(condition, after: previous, before: next) { open.append(place + 1) }
            }
        }
    }

    private static func holds(
        _ condition: Pattern.Condition, after previous: Unicode.Scalar?, before next: Unicode.Scalar?
    ) -> Bool {
        switch condition {
        case .start: previous == nil
        case .end: next == nil
        case .wordEdge: isWord(previous) != isWord(next)
        case .noWordEdge: isWord(previous) == isWord(next)
        }
    }

    private static func isWord(_ scalar: Unicode.Scalar?) -> Bool {
        guard let scalar else { return false }
        return ScalarClass.word.contains(scalar)
    }
}
