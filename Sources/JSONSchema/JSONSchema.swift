// Licensed under the Apache License 2.0; see LICENSE.

package import MCPWire

/// A JSON Schema, compiled once and asked often.
///
/// Dialects: 2020-12 where `$schema` is absent, and 2019-09 and draft-07 where it names them; any other is refused.
/// All assertions and applicators are checked; `format` and unknown keywords are annotations. References are resolved
/// within the document and nowhere else.
///
/// A schema comes from strangers and so does the value: both are bounded by `SchemaLimits`, whatever they contain.
/// Cost of a valid object with a few properties: about a microsecond.
package final class JSONSchema: Sendable {
    private let program: SchemaProgram

    /// Compiles. Refuses a schema that is malformed, too large, of another dialect, that refers to something outside
    /// of the document, or that applies itself to the same value without end.
    package init(_ schema: JSONValue, limits: SchemaLimits = SchemaLimits()) throws(SchemaError) {
        program = try SchemaCompiler.compile(schema, limits: limits)
    }

    /// Where in the schema a `pattern` is that this engine leaves unchecked, because it needs look-around, a
    /// back-reference or a dialect of its own. Such a pattern refuses nothing. A few at most, for operators.
    package var uncheckedPatterns: [String] { program.uncheckedPatterns }

    /// What is wrong with the value, in the order of its parts and at most `violationsMax`; empty when it fits.
    ///
    /// Never takes more than `stepsMax`: a value that needs more gets a single violation with `isUnchecked`.
    package func violations(of value: JSONValue) -> [SchemaViolation] {
        var validation = Validation(program)
        return validation.violations(of: value)
    }
}

/// Bounds on a schema and on the work of one validation.
package struct SchemaLimits: Sendable {
    /// Deepest nesting of subschemas, and of the values in `enum` and `const`.
    package var depthMax: Int
    /// Subschemas in one document.
    package var subschemasMax: Int
    /// Work of one validation. A step is a subschema, a member or an item visited, 64 bytes of text compared, or 16
    /// states of a pattern tried: some 50 nanoseconds.
    package var stepsMax: Int
    /// Violations reported at most.
    package var violationsMax: Int
    /// Subschemas that are being applied at one time; each takes some stack.
    package var nestingMax: Int
    /// Instructions that all patterns of one schema compile to; a pattern that does not fit is left unchecked.
    package var patternInstructionsMax: Int
    /// Work of compiling: members of the schema looked at, and bytes of the addresses it gives itself.
    package var compileStepsMax: Int

    package init(
        depthMax: Int = 64, subschemasMax: Int = 4096, stepsMax: Int = 200_000, violationsMax: Int = 5,
        nestingMax: Int = 500, patternInstructionsMax: Int = 50_000, compileStepsMax: Int = 5_000_000
    ) {
        self.depthMax = depthMax
        self.subschemasMax = subschemasMax
        self.stepsMax = stepsMax
        self.violationsMax = violationsMax
        self.nestingMax = nestingMax
        self.patternInstructionsMax = patternInstructionsMax
        self.compileStepsMax = compileStepsMax
    }
}

/// Why a schema cannot be used. Safe for operators: what it quotes of the schema is short and escaped.
package struct SchemaError: Error, Sendable, Equatable {
    package let words: String
}

/// One way in which a value does not fit.
package struct SchemaViolation: Sendable, Equatable {
    /// JSON pointer into the value; "" is the value itself. Very long names are cut.
    package let place: String
    /// What is wrong and what would be right, in words for people and language models.
    package let words: String
    /// The value was not found wrong: checking it took more work than the limits allow.
    package let isUnchecked: Bool

    package init(place: String, words: String, isUnchecked: Bool = false) {
        self.place = place
        self.words = words
        self.isUnchecked = isUnchecked
    }
}
