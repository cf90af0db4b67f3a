// Licensed under the Apache License 2.0; see LICENSE.

/// What a search knows of one tool.
struct ToolDocument: Sendable {
    /// As clients see it, `prefix__tool`.
    var name: String
    var title: String?
    var description: String
    var parameterNames: [String]

    init(name: String, title: String? = nil, description: String, parameterNames: [String] = []) {
        self.name = name
        self.title = title
        self.description = description
        self.parameterNames = parameterNames
    }
}

/// Ranked full-text search over some thousands of tools, for clients that are shown a search instead of the whole list.
///
/// The ranking is BM25 over four fields: a rare word counts more than a common one, a second mention less than the
/// first, a mention in a long text less than in a short one, and one in a name most. Words are compared without their
/// English endings; a word that is only the beginning of another counts as a part of it. A tool whose name is the
/// question stands before all others. The same tools and the same question give the same answer, and equals keep the
/// order of the tools.
///
/// Immutable; a changed list is a new index. Building costs some ten microseconds for each tool and so belongs off the
/// event loop, a search some tens of microseconds over two thousand of them; nothing is kept of the texts but the words
/// and the names.
struct ToolIndex: Sendable {
    struct Hit: Sendable, Equatable {
        /// Into the documents that the index was made of.
        var index: Int
        /// Higher is better; comparable within one answer only.
        var score: Double
    }

    /// A question is cut here; what comes after adds nothing.
    static let queryWordsMax = 64
    static let queryBytesMax = 1_024
    /// Shorter beginnings fit too much to say anything.
    static let beginningBytesMin = 3
    /// What a beginning is worth of the whole word.
    static let beginningShare = 0.4
    /// More than all words of a question together can give.
    static let exactNameScore = 10_000.0

    /// Sorted by bytes, so that words with one beginning stand together.
    let words: [String]
    /// Where the mentions of each word begin, and one entry more.
    let starts: [Int]
    /// For each word the tools that mention it, in their order, and what a mention adds to the score of that tool.
    let mentions: [Mention]
    let names: [String]

    struct Mention: Sendable {
        var document: Int32
        var weight: Float
    }

    /// At most `limit` tools that have to do with `query`, best first. No words, no hits.
    func search(_ query: String, limit: Int) -> [Hit] {
        guard limit > 0 else { return [] }
        var scores = [Double](repeating: 0, count: names.count)
        for word in Self.questionWords(query) { add(word, to: &scores) }
        addExactNames(query, to: &scores)
        var hits: [Hit] = []
        for (index, score) in scores.enumerated() where score > 0 { hits.append(Hit(index: index, score: score)) }
        hits.sort { ($1.score, $0.index) < ($0.score, $1.index) }
        return hits.count > limit ? Array(hits.prefix(limit)) : hits
    }

    /// Words that people and models put around what they look for. They are left out unless there is nothing else.
    private static let fillers: Set<String> = [
        "a", "an", "and", "are", "can", "do", "for", "from", "how", "i", "in", "is", "it", "me", "my", "of", "on", "or",
        "some", "that", "the", "this", "to", "tool", "tools", "want", "what", "which", "with", "you",
    ]

    private static func questionWords(_ query: String) -> [String] {
        var seen: Set<String> = []
        let all = SearchWords.split(query, bytesMax: queryBytesMax, countMax: queryWordsMax)
            .filter { seen.insert($0).inserted }
        let telling = all.filter { !fillers.contains($0) }
        return telling.isEmpty ? all : telling
    }

    /// A tool gets the best that one word of the question finds in it, not the sum: `get` should not be counted again
    /// for `getting`, `gets` and `getter`.
    private func add(_ word: String, to scores: inout [Double]) {
        let stem = SearchWords.stem(word)
        var best = [Double](repeating: 0, count: names.count)
        func note(_ place: Int, _ share: Double) {
            for mention in mentions[starts[place]..<starts[place + 1]] {
                let index = Int(mention.document)
                best[index] = max(best[index], Double(mention.weight) * share)
            }
        }
        let place = firstPlace(notBefore: stem)
        if place < words.count, words[place] == stem { note(place, 1) }
        // The word as it was written: the stem of `file` begins `filter` too.
        if word.utf8.count >= Self.beginningBytesMin {
            var place = firstPlace(notBefore: word)
            while place < words.count, words[place].utf8.starts(with: word.utf8) {
                if words[place] != stem { note(place, Self.beginningShare) }
                place += 1
            }
        }
        for index in scores.indices { scores[index] += best[index] }
    }

    private func firstPlace(notBefore word: String) -> Int {
        var (low, high) = (0, words.count)
        while low < high {
            let middle = (low + high) / 2
            if words[middle].utf8.lexicographicallyPrecedes(word.utf8) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The name as it is counts most, then the same in other letters, then the part after the prefix alone.
    private func addExactNames(_ query: String, to scores: inout [Double]) {
        // Nobody has a name that long, and a question of a megabyte is not worth a look at its end.
        guard query.utf8.count <= Self.queryBytesMax else { return }
        let asked = Self.bare(query)
        guard !asked.isEmpty else { return }
        for (index, name) in names.enumerated() {
            let bytes = name.utf8.span
            let start = bytes.count - asked.count
            guard start >= 0, Self.isEnd(asked, of: bytes, lowered: true) else { continue }
            if start == 0 {
                scores[index] += Self.exactNameScore * (Self.isEnd(asked, of: bytes, lowered: false) ? 3 : 2)
            } else if start > 2, bytes[start - 1] == Self.underscore, bytes[start - 2] == Self.underscore {
                scores[index] += Self.exactNameScore
            }
        }
    }

    private static let underscore = UInt8(ascii: "_")

    /// Without the spaces and quotes around it.
    private static func bare(_ text: String) -> [UInt8] {
        let around = " \t\r\n\"'`".utf8
        var rest = text.utf8.drop { around.contains($0) }
        while let last = rest.last, around.contains(last) { rest.removeLast() }
        return Array(rest)
    }

    /// Whether `bytes`, which are no shorter, end with `end`; capital and small letters are the same when `lowered`.
    private static func isEnd(_ end: [UInt8], of bytes: Span<UInt8>, lowered: Bool) -> Bool {
        let start = bytes.count - end.count
        for index in end.indices {
            let (left, right) = (bytes[start + index], end[index])
            guard left == right || (lowered && small(left) == small(right)) else { return false }
        }
        return true
    }

    private static func small(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }
}
