// Licensed under the Apache License 2.0; see LICENSE.

import JSONSchema
import MCPWire
import Testing

/// A schema with values that fit and values that do not.
struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let schema: String
    var fits: [String] = []
    var misfits: [String] = []

    var testDescription: String { name }

    init(_ name: String, _ schema: String, fits: [String] = [], misfits: [String] = []) {
        self.name = name
        self.schema = schema
        self.fits = fits
        self.misfits = misfits
    }

    func check() throws {
        let schema = try compile(schema)
        for value in fits { #expect(try schema.violations(of: parse(value)) == [], "\(value) fits") }
        for value in misfits {
            let violations = try schema.violations(of: parse(value))
            #expect(!violations.isEmpty, "\(value) does not fit")
            #expect(violations.allSatisfy { !$0.isUnchecked }, "\(value)")
        }
    }
}

func parse(_ text: String) throws -> JSONValue {
    try JSONValue.parse(text, limits: WireLimits(bytesMax: 64 << 20, depthMax: 600))
}

func compile(_ text: String, limits: SchemaLimits = SchemaLimits()) throws -> JSONSchema {
    try JSONSchema(try parse(text), limits: limits)
}

/// Why the schema is refused; nil when it is not.
func refusal(_ text: String, limits: SchemaLimits = SchemaLimits()) throws -> String? {
    let value = try parse(text)
    do {
        _ = try JSONSchema(value, limits: limits)
        return nil
    } catch {
        return error.words
    }
}

let draft7 = #""$schema":"http://json-schema.org/draft-07/schema#""#
let draft2019 = #""$schema":"https://json-schema.org/draft/2019-09/schema""#
let draft2020 = #""$schema":"https://json-schema.org/draft/2020-12/schema""#
