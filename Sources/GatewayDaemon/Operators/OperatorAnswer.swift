// Licensed under the Apache License 2.0; see LICENSE.

/// What came of a verb.
package struct OperatorAnswer: Sendable {
    /// The gateway's JSON as it came.
    package let json: String
    /// For people.
    let lines: [ScreenLine]
    /// Whether all is well, for the verb's exit status.
    package let isGood: Bool
    /// What is said beside the answer, for standard error.
    package let complaints: [String]

    init(json: String, lines: [ScreenLine], isGood: Bool = true, complaints: [String] = []) {
        self.json = json
        self.lines = lines
        self.isGood = isGood
        self.complaints = complaints
    }

    init(json: String, screen: String, isGood: Bool = true) {
        self.init(json: json, lines: [ScreenLine](screen), isGood: isGood)
    }

    /// Empty when there is nothing to say.
    package func screen(isColoured: Bool) -> String { lines.text(isColoured: isColoured) }
}
