// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

extension ToolIndex {
    /// What a field has beyond these is not looked at: descriptions come from servers that we do not know.
    static let fieldBytesMax = 8 << 10
    static let fieldWordsMax = 1_024

    /// Reads every text once, of each field no more than its bounds. Never fails.
    init(_ documents: [ToolDocument]) {
        var build = ToolIndexBuild()
        for document in documents { build.add(document) }
        self = build.index(names: documents.map(\.name))
    }
}

/// Collects the words of all tools, and counts what each mention is worth once the averages are known.
private struct ToolIndexBuild {
    /// One kind of text, with what a mention in it is worth and how much its length takes away from that: 0 nothing,
    /// 1 all.
    private struct Field {
        var weight: Double
        var lengthPenalty: Double

        static let all = [
            Field(weight: 6, lengthPenalty: 0.3),  // the name
            Field(weight: 3, lengthPenalty: 0.3),  // the title
            Field(weight: 1, lengthPenalty: 0.75),  // the description
            Field(weight: 1.5, lengthPenalty: 0.75),  // names of parameters
        ]
    }

    private struct Occurrence {
        var word: Int32
        var document: Int32
        var field: Int
    }

    /// How soon further mentions stop to count; the usual value of BM25.
    private static let saturation = 1.2

    /// Of each word the place of its stem in `words`, so that a stem is made once for each word and not each time.
    private var numbers: [String: Int32] = [:]
    private var stemNumbers: [String: Int32] = [:]
    private var words: [String] = []
    private var occurrences: [Occurrence] = []
    /// Words in each field of each document.
    private var lengths: [[Int]] = []

    mutating func add(_ document: ToolDocument) {
        let number = Int32(lengths.count)
        lengths.append([Int](repeating: 0, count: Field.all.count))
        add([document.name], field: 0, to: number)
        add([document.title ?? ""], field: 1, to: number)
        add([document.description], field: 2, to: number)
        add(document.parameterNames, field: 3, to: number)
    }

    private mutating func add(_ texts: [String], field: Int, to document: Int32) {
        var room = ToolIndex.fieldWordsMax
        for text in texts where room > 0 {
            for word in SearchWords.split(text, bytesMax: ToolIndex.fieldBytesMax, countMax: room) {
                room -= 1
                lengths[Int(document)][field] += 1
                occurrences.append(Occurrence(word: number(of: word), document: document, field: field))
            }
        }
    }

    private mutating func number(of word: String) -> Int32 {
        if let number = numbers[word] { return number }
        let stem = SearchWords.stem(word)
        let number = stemNumbers[stem] ?? Int32(words.count)
        numbers[word] = number
        if stemNumbers.updateValue(number, forKey: stem) == nil { words.append(stem) }
        return number
    }

    func index(names: [String]) -> ToolIndex {
        let order = words.indices.sorted { words[$0].utf8.lexicographicallyPrecedes(words[$1].utf8) }
        let sorted = sortedOccurrences(order)
        let shares = shares()
        var starts = [0]
        starts.reserveCapacity(words.count + 1)
        var mentions: [ToolIndex.Mention] = []
        mentions.reserveCapacity(occurrences.count)
        var position = 0
        for number in order {
            let start = mentions.count
            while position < sorted.count, sorted[position].word == number {
                let occurrence = sorted[position]
                let share = Float(shares[Int(occurrence.document)][occurrence.field])
                if mentions.count > start, mentions[mentions.count - 1].document == occurrence.document {
                    mentions[mentions.count - 1].weight += share
                } else {
                    mentions.append(ToolIndex.Mention(document: occurrence.document, weight: share))
                }
                position += 1
            }
            let rarity = rarity(mentionedBy: mentions.count - start)
            for place in start..<mentions.count {
                let frequency = Double(mentions[place].weight)
                let counted = frequency * (Self.saturation + 1) / (frequency + Self.saturation)
                mentions[place].weight = Float(rarity * counted)
            }
            starts.append(mentions.count)
        }
        return ToolIndex(words: order.map { words[$0] }, starts: starts, mentions: mentions, names: names)
    }

    /// In the order of the words, and those of one word in the order of the documents: counted into their places.
    private func sortedOccurrences(_ order: [Int]) -> [Occurrence] {
        var places = [Int](repeating: 0, count: words.count)
        for occurrence in occurrences { places[Int(occurrence.word)] += 1 }
        var next = 0
        for number in order {
            let count = places[number]
            places[number] = next
            next += count
        }
        var sorted = [Occurrence](repeating: Occurrence(word: 0, document: 0, field: 0), count: occurrences.count)
        for occurrence in occurrences {
            sorted[places[Int(occurrence.word)]] = occurrence
            places[Int(occurrence.word)] += 1
        }
        return sorted
    }

    /// What one mention counts in each field of each document: less the longer that text is for its kind.
    private func shares() -> [[Double]] {
        // A tool without a title does not make the titles of the others long ones.
        let averages = Field.all.indices.map { field in
            let given = lengths.map { $0[field] }.filter { $0 > 0 }
            return max(1, Double(given.reduce(0, +)) / Double(max(1, given.count)))
        }
        return lengths.map { fields in
            fields.enumerated().map { field, length in
                let (kind, average) = (Field.all[field], averages[field])
                return kind.weight / (1 - kind.lengthPenalty + kind.lengthPenalty * Double(length) / average)
            }
        }
    }

    /// A word that every tool has says little, but never nothing.
    private func rarity(mentionedBy count: Int) -> Double {
        let all = Double(lengths.count)
        let ratio = (all - Double(count) + 0.5) / (Double(count) + 0.5)
        return log(1 + ratio)
    }
}
