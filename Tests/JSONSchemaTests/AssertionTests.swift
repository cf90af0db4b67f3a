// Licensed under the Apache License 2.0; see LICENSE.

import Testing

/// Keywords that look at one value and nothing inside.
@Suite("Assertions") struct AssertionTests {
    static let everything = [
        "null", "true", "0", "-1", "1.5", "\"\"", "\"a\"", "[]", "[1]", "{}", "{\"a\":null}", "1e400",
    ]

    static let types: [Case] = [
        Case("no keyword", "{}", fits: everything),
        Case("true", "true", fits: everything),
        Case("false", "false", misfits: everything),
        Case("null", #"{"type":"null"}"#, fits: ["null"], misfits: ["false", "0", "\"\"", "[]", "{}", "\"null\""]),
        Case("boolean", #"{"type":"boolean"}"#, fits: ["true", "false"], misfits: ["null", "0", "1", "\"true\""]),
        Case("string", #"{"type":"string"}"#, fits: ["\"\"", "\"1\""], misfits: ["1", "null", "[\"a\"]"]),
        Case("array", #"{"type":"array"}"#, fits: ["[]", "[null]"], misfits: ["{}", "\"[]\"", "null"]),
        Case("object", #"{"type":"object"}"#, fits: ["{}"], misfits: ["[]", "null", "\"{}\""]),
        Case(
            "number", #"{"type":"number"}"#, fits: ["0", "-1.5", "1e400", "1.0"], misfits: ["\"1\"", "true", "null"]),
        Case(
            "integer, however it is written", #"{"type":"integer"}"#,
            fits: ["1", "1.0", "-0", "0.0", "1e3", "1.5e1", "10e-1", "123456789012345678901234567890", "1e400"],
            misfits: ["1.5", "1e-1", "15e-1", "123456789012345678901.5", "\"1\"", "true"]),
        Case("several", #"{"type":["integer","null"]}"#, fits: ["1", "null"], misfits: ["1.5", "\"\""]),
        Case("none", #"{"type":[]}"#, misfits: ["1", "null"]),
        Case("format and unknown keywords say nothing", #"{"format":"email","x-y":[1],"title":"t"}"#, fits: everything),
    ]

    @Test("a value is of the type that is asked for", arguments: types)
    func type(_ one: Case) throws { try one.check() }

    static let constants: [Case] = [
        Case(
            "const of a number", #"{"const":1}"#, fits: ["1", "1.0", "10e-1", "0.1e1"],
            misfits: ["true", "\"1\"", "1.1"]),
        Case("const of false is not 0", #"{"const":false}"#, fits: ["false"], misfits: ["0", "null", "\"\"", "[]"]),
        Case("const of zero", #"{"const":0}"#, fits: ["0", "-0", "0.0", "0e9"], misfits: ["false"]),
        Case(
            "const of an object, in any order", #"{"const":{"a":[1,{"b":null,"c":2.0}],"d":""}}"#,
            fits: [#"{"a":[1,{"b":null,"c":2}],"d":""}"#, #"{"d":"","a":[1.0,{"c":2,"b":null}]}"#],
            misfits: [
                #"{"a":[{"b":null,"c":2},1],"d":""}"#, #"{"d":""}"#, #"{"a":[1,{"b":null,"c":2}],"d":"","e":1}"#,
            ]),
        Case(
            "const of a long integer", #"{"const":9007199254740993}"#,
            fits: ["9007199254740993", "9007199254740993.0"],
            misfits: ["9007199254740992", "9007199254740994"]),
        Case(
            "text is compared as it is", "{\"const\":\"e\u{301}\"}", fits: ["\"e\u{301}\"", "\"e\\u0301\""],
            misfits: ["\"\u{e9}\""]),
        Case(
            "enum", #"{"enum":["a",1,null,[2]]}"#, fits: ["\"a\"", "1.0", "null", "[2.0]"],
            misfits: ["\"b\"", "2", "[]"]),
        Case(
            "enum of many", #"{"enum":[0,1,2,3,4,5,6,7,8,9,10,{"a":1,"b":2},"x"]}"#,
            fits: ["10.0", "1e1", #"{"b":2,"a":1.0}"#, "\"x\""], misfits: ["11", #"{"b":1,"a":2}"#, "\"y\"", "false"]),
        Case("enum of nothing", #"{"enum":[]}"#, misfits: ["null"]),
        Case("enum and const together", #"{"enum":[1,2],"const":2}"#, fits: ["2"], misfits: ["1", "3"]),
    ]

    @Test("constants are compared as JSON, not as text", arguments: constants)
    func constant(_ one: Case) throws { try one.check() }

    static let numbers: [Case] = [
        Case(
            "minimum", #"{"minimum":1.1}"#, fits: ["1.1", "1.10", "2", "\"0\""],
            misfits: ["1.09999999999999999999", "-5"]),
        Case(
            "exclusiveMinimum", #"{"exclusiveMinimum":0}"#, fits: ["1e-400", "1"], misfits: ["0", "-0.0", "-1e-400"]),
        Case("maximum", #"{"maximum":-2}"#, fits: ["-2", "-2.5", "-1e30"], misfits: ["-1.999", "0", "1e30"]),
        Case(
            "exclusiveMaximum", #"{"exclusiveMaximum":3.0}"#, fits: ["2.9999999999999999999"],
            misfits: ["3", "3.0", "30"]),
        Case(
            "bounds beyond 2^53", #"{"minimum":9007199254740993,"maximum":9223372036854775807}"#,
            fits: ["9007199254740993", "9223372036854775807"], misfits: ["9007199254740992", "9223372036854775808"]),
        Case(
            "bounds of thirty digits", #"{"exclusiveMinimum":100000000000000000000000000001}"#,
            fits: ["100000000000000000000000000002", "1e30"],
            misfits: ["100000000000000000000000000001", "100000000000000000000000000000", "1e29"]),
        Case(
            "multiples of cents", #"{"multipleOf":0.01}"#, fits: ["0.07", "4.35", "1", "0", "19.99"], misfits: ["0.075"]
        ),
        Case("multiples of 0.0001", #"{"multipleOf":0.0001}"#, fits: ["0.0075", "1e3"], misfits: ["0.00751"]),
        Case(
            "multiples of an integer", #"{"multipleOf":3}"#,
            fits: ["9", "-9", "0", "3.0", "3e20", "9007199254740993", "333333333333333333333333333333"],
            misfits: ["10", "9007199254740992", "1e20", "333333333333333333333333333334", "1.5"]),
        Case(
            "multiples and huge exponents", #"{"multipleOf":0.5}"#, fits: ["1e308", "1e999999999"], misfits: ["1e-9"]),
    ]

    @Test("numbers are compared exactly", arguments: numbers)
    func number(_ one: Case) throws { try one.check() }

    static let texts: [Case] = [
        Case(
            "minLength", #"{"minLength":2}"#, fits: ["\"ab\"", "\"\u{1f600}b\"", "1"],
            misfits: ["\"\u{1f600}\"", "\"\""]),
        Case("maxLength", #"{"maxLength":2}"#, fits: ["\"\u{1f600}\u{1f600}\"", "[1,2,3]"], misfits: ["\"abc\""]),
        Case("code points, not characters", "{\"maxLength\":1}", fits: ["\"\u{e9}\""], misfits: ["\"e\u{301}\""]),
        Case("a count with a fraction of zero", #"{"maxLength":2.0}"#, fits: ["\"ab\""], misfits: ["\"abc\""]),
        Case("a count beyond counting", #"{"maxLength":1e99,"minLength":0}"#, fits: ["\"ab\""]),
        Case("pattern", #"{"pattern":"^a+$"}"#, fits: ["\"aaa\"", "5"], misfits: ["\"ab\"", "\"\""]),
        Case("a pattern is searched", #"{"pattern":"b"}"#, fits: ["\"abc\""], misfits: ["\"ac\""]),
    ]

    @Test("texts are measured in code points", arguments: texts)
    func text(_ one: Case) throws { try one.check() }
}
