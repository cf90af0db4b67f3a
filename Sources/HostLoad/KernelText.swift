// Licensed under the Apache License 2.0; see LICENSE.

/// One of the small texts in which the kernel tells figures. Whatever is in it: what is no figure is nil.
struct KernelText {
    let bytes: [UInt8]

    /// The first word, when it is a figure: `max` and `-1`, which mean that there is no limit, are none.
    var number: Int? { words.first.flatMap { Self.number($0) } }

    /// What stands between blanks and ends of lines.
    var words: [ArraySlice<UInt8>] { Self.words(bytes[...]) }

    var lines: [ArraySlice<UInt8>] { bytes.split(separator: UInt8(ascii: "\n")) }

    /// The figure behind `key` on a line of its own, as in `inactive_file 4096` or `MemTotal:  1024 kB`; in bytes
    /// where the kernel counts in kB, which are 1,024 bytes.
    func figure(_ key: String) -> Int? {
        guard let words = words(behind: key), let number = words.first.flatMap({ Self.number($0) }) else { return nil }
        guard words.dropFirst().first?.elementsEqual("kB".utf8) == true else { return number }
        let bytes = number.multipliedReportingOverflow(by: 1_024)
        return bytes.overflow ? nil : bytes.partialValue
    }

    /// How many numbers the list behind `key` names, as in `Cpus_allowed_list: 0-3,8`, which are five.
    func listLength(_ key: String) -> Int? {
        guard let list = words(behind: key)?.first else { return nil }
        var count = 0
        for part in list.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            let ends = part.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
            guard ends.count <= 2, let first = Self.number(ends[0]), let last = Self.number(ends[ends.count - 1]),
                first <= last, last <= Self.listedMax
            else { return nil }
            count += last - first + 1
        }
        return count
    }

    /// No kernel numbers its cores beyond this.
    private static let listedMax = 1 << 20

    private func words(behind key: String) -> ArraySlice<ArraySlice<UInt8>>? {
        for line in lines {
            let words = Self.words(line)
            guard let first = words.first else { continue }
            if first.elementsEqual(key.utf8) || first.elementsEqual("\(key):".utf8) { return words.dropFirst() }
        }
        return nil
    }

    /// Nil for what is no whole number, is negative, or is beyond `Int`: no machine has that much of anything.
    static func number(_ word: ArraySlice<UInt8>) -> Int? {
        Int(String(decoding: word, as: UTF8.self)).flatMap { $0 >= 0 ? $0 : nil }
    }

    static func words(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\n") }
    }
}
