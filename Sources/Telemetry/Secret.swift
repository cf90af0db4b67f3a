// Licensed under the Apache License 2.0; see LICENSE.

/// A text that must never be printed. Every way of turning it into text gives `<redacted>`; whoever needs the text
/// itself says so with `reveal`.
package struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let text: String

    package init(_ text: String) { self.text = text }

    /// The text itself. Only for the place that sends or checks it.
    package func reveal() -> String { text }

    /// Compares in a time that depends on the lengths only.
    package func matches(_ other: String) -> Bool {
        let mine = Array(text.utf8)
        let theirs = Array(other.utf8)
        var difference = mine.count ^ theirs.count
        for index in theirs.indices {
            difference |= Int(theirs[index] ^ (mine.isEmpty ? 0xFF : mine[index % mine.count]))
        }
        return difference == 0
    }

    package var description: String { "<redacted>" }
    package var debugDescription: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
