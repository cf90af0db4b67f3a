// Licensed under the Apache License 2.0; see LICENSE.

/// Cuts names, descriptions and questions into the words that a search compares: lower-case, parted wherever a writer
/// of names parts them.
///
/// `erp__createTicket2` has the words `erp`, `create`, `ticket`, `2`, and `createticket2` as well: nobody knows whether
/// the other side writes GitHub or github, so what stands without a gap is a word of its own too. An ideograph is a
/// word by itself, since nothing parts words there.
enum SearchWords {
    /// A run of letters and digits is parted at this length; texts without spaces are no words.
    static let runLengthMax = 64

    /// The words of the first `bytesMax` bytes, at most `countMax` of them, in their order.
    static func split(_ text: String, bytesMax: Int, countMax: Int) -> [String] {
        var run = Run()
        var words: [String] = []
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            guard bytes <= bytesMax, words.count < countMax else { break }
            guard let kind = Kind(scalar) else {
                run.end(&words)
                continue
            }
            if kind == .ideograph {
                run.end(&words)
                words.append(String(scalar))
                continue
            }
            run.append(scalar, kind)
            if run.count == runLengthMax { run.end(&words) }
        }
        run.end(&words)
        if words.count > countMax { words.removeSubrange(countMax...) }
        return words
    }

    private enum Kind {
        case lower
        case upper
        case digit
        case ideograph

        /// None for what stands between words.
        init?(_ scalar: Unicode.Scalar) {
            switch scalar {
            case "a"..."z": self = .lower
            case "A"..."Z": self = .upper
            case "0"..."9": self = .digit
            default:
                guard !scalar.isASCII, let kind = Self.beyondASCII(scalar) else { return nil }
                self = kind
            }
        }

        private static func beyondASCII(_ scalar: Unicode.Scalar) -> Kind? {
            let properties = scalar.properties
            if properties.isIdeographic { return .ideograph }
            if properties.isUppercase { return .upper }
            if properties.numericType != nil { return .digit }
            switch properties.generalCategory {
            case .nonspacingMark, .spacingMark, .enclosingMark: return .lower
            default: return properties.isAlphabetic ? .lower : nil
            }
        }
    }

    /// Letters and digits without a gap.
    private struct Run {
        private var scalars: [Unicode.Scalar] = []
        private var kinds: [Kind] = []

        var count: Int { scalars.count }

        mutating func append(_ scalar: Unicode.Scalar, _ kind: Kind) {
            scalars.append(scalar)
            kinds.append(kind)
        }

        /// Adds its pieces to `words`, then the whole if there is more than one piece.
        mutating func end(_ words: inout [String]) {
            guard !scalars.isEmpty else { return }
            var start = 0
            for index in 1..<max(scalars.count, 1) where isSeam(index) {
                words.append(lowered(start..<index))
                start = index
            }
            words.append(lowered(start..<scalars.count))
            if start > 0 { words.append(lowered(0..<scalars.count)) }
            scalars.removeAll(keepingCapacity: true)
            kinds.removeAll(keepingCapacity: true)
        }

        /// Whether a new piece begins at `index`: between letters and digits, before a capital after small letters, and
        /// before the last capital of several (`HTTP|Server`), but not before the plural of an abbreviation (`URLs`).
        private func isSeam(_ index: Int) -> Bool {
            let (before, here) = (kinds[index - 1], kinds[index])
            if (before == .digit) != (here == .digit) { return true }
            guard here == .upper else { return false }
            if before == .lower { return true }
            guard index + 1 < kinds.count, kinds[index + 1] == .lower else { return false }
            let isPlural = scalars[index + 1] == "s" && (index + 2 == kinds.count || kinds[index + 2] != .lower)
            return !isPlural
        }

        private func lowered(_ range: Range<Int>) -> String {
            var out = String.UnicodeScalarView()
            for scalar in scalars[range] {
                switch scalar {
                case "A"..."Z": out.append(Unicode.Scalar(UInt8(scalar.value) | 0x20))
                case "\0"..."\u{7f}": out.append(scalar)
                default: out.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
                }
            }
            return String(out)
        }
    }
}

extension SearchWords {
    /// The word without the endings that English puts to it, so that `tickets` finds `ticket` and `listing` finds
    /// `list`. Takes off, once each and in this order: a plural s (`-ies` and `-ied` become y, `-ss`, `-us` and `-is`
    /// stay), `-ing` or `-ed` where three letters with a vowel remain, and a silent e. What comes out need not be a
    /// word; that both sides come out alike is all that counts. Irregular forms stay apart. Only for words of four
    /// ASCII letters and more.
    static func stem(_ word: String) -> String {
        var bytes = Array(word.utf8)
        guard bytes.count >= 4, bytes.allSatisfy({ $0 >= 0x61 && $0 <= 0x7a }) else { return word }
        let wholeLength = bytes.count
        takePlural(&bytes)
        if bytes.count > 4, ends(bytes, "ied") {
            bytes.replaceSubrange((bytes.count - 3)..., with: "y".utf8)
        } else if ends(bytes, "ing") {
            takeEnding(3, &bytes)
        } else if ends(bytes, "ed"), !ends(bytes, "eed") {
            takeEnding(2, &bytes)
        }
        if bytes.count >= 4, bytes.last == UInt8(ascii: "e") { bytes.removeLast() }
        return bytes.count == wholeLength ? word : String(decoding: bytes, as: UTF8.self)
    }

    private static func ends(_ bytes: [UInt8], _ ending: StaticString) -> Bool {
        bytes.suffix(ending.utf8CodeUnitCount).elementsEqual(ending.description.utf8)
    }

    private static func takePlural(_ bytes: inout [UInt8]) {
        guard bytes.last == UInt8(ascii: "s"), !ends(bytes, "ss"), !ends(bytes, "us"), !ends(bytes, "is") else {
            return
        }
        if bytes.count > 4, ends(bytes, "ies") {
            bytes.replaceSubrange((bytes.count - 3)..., with: "y".utf8)
        } else if ends(bytes, "sses") || ends(bytes, "xes") || ends(bytes, "ches") || ends(bytes, "shes") {
            bytes.removeLast(2)
        } else {
            bytes.removeLast()
        }
    }

    /// Takes off `-ing` or `-ed` where a stem remains, and one of two equal consonants before it: `running`, `run`.
    private static func takeEnding(_ length: Int, _ bytes: inout [UInt8]) {
        let rest = bytes.dropLast(length)
        guard rest.count >= 3, rest.contains(where: { "aeiouy".utf8.contains($0) }) else { return }
        bytes.removeLast(length)
        let last = bytes[bytes.count - 1]
        if last == bytes[bytes.count - 2], !"aeioulsz".utf8.contains(last) { bytes.removeLast() }
    }
}
