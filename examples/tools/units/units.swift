// Licensed under the Apache License 2.0; see LICENSE.

/// Units of one kind; `factor` units of the base make one of this, `offset` shifts the zero of temperatures.
struct Unit {
    let symbol: Text
    /// Other spellings, in lower case, between spaces.
    let names: Text
    let factor: Double
    var offset = 0.0
}

struct Quantity {
    let name: Text
    /// With its article, for sentences.
    let phrase: Text
    let units: [Unit]
    /// The base unit cannot be negative.
    var hasLowestValue = false
}

var quantities: [Quantity] {
    [
        Quantity(
            name: "length", phrase: "a length",
            units: [
                Unit(symbol: "nm", names: " nanometer nanometre nanometers nanometres ", factor: 1e-9),
                Unit(symbol: "um", names: " µm μm micrometer micrometre micrometers micrometres micron ", factor: 1e-6),
                Unit(symbol: "mm", names: " millimeter millimetre millimeters millimetres ", factor: 0.001),
                Unit(symbol: "cm", names: " centimeter centimetre centimeters centimetres ", factor: 0.01),
                Unit(symbol: "m", names: " meter metre meters metres ", factor: 1),
                Unit(symbol: "km", names: " kilometer kilometre kilometers kilometres ", factor: 1000),
                Unit(symbol: "in", names: " inch inches ", factor: 0.0254),
                Unit(symbol: "ft", names: " foot feet ", factor: 0.3048),
                Unit(symbol: "yd", names: " yard yards ", factor: 0.9144),
                Unit(symbol: "mi", names: " mile miles ", factor: 1609.344),
                Unit(symbol: "nmi", names: " nautical_mile nautical_miles ", factor: 1852),
            ]),
        Quantity(
            name: "mass", phrase: "a mass",
            units: [
                Unit(symbol: "mg", names: " milligram milligrams ", factor: 1e-6),
                Unit(symbol: "g", names: " gram grams ", factor: 0.001),
                Unit(symbol: "kg", names: " kilogram kilograms ", factor: 1),
                Unit(symbol: "t", names: " tonne tonnes ", factor: 1000),
                Unit(symbol: "oz", names: " ounce ounces ", factor: 0.028349523125),
                Unit(symbol: "lb", names: " pound pounds ", factor: 0.45359237),
                Unit(symbol: "st", names: " stone stones ", factor: 6.35029318),
            ]),
        Quantity(
            name: "temperature", phrase: "a temperature",
            units: [
                Unit(symbol: "K", names: " kelvin kelvins ", factor: 1),
                Unit(symbol: "C", names: " °c celsius centigrade ", factor: 1, offset: 273.15),
                Unit(symbol: "F", names: " °f fahrenheit ", factor: 5.0 / 9.0, offset: 459.67 * 5.0 / 9.0),
            ], hasLowestValue: true),
    ]
}

var tools: [Tool] {
    [
        Tool(
            "convert",
            """
            {"name":"convert","title":"Convert a unit","description":"Converts a length, a mass or a temperature from \
            one unit to another. Use it instead of doing the arithmetic yourself. Example: value 5, from km, to mi \
            gives 5 km = 3.106855961 mi. list_units tells all units.","inputSchema":{"type":"object","properties":{\
            "value":{"type":"number","description":"How many of the unit to convert from."},\
            "from":{"type":"string","description":"The unit of the value: a symbol such as km, lb, C, or an English \
            name such as kilometers."},\
            "to":{"type":"string","description":"The unit to convert to, of the same kind."}},\
            "required":["value","from","to"],"additionalProperties":false},\
            "annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}
            """,
            run: convert),
        Tool(
            "list_units",
            """
            {"name":"list_units","title":"List the units","description":"Lists the units that convert knows, by kind.",\
            "inputSchema":{"type":"object","properties":{},"additionalProperties":false},\
            "annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}
            """,
            run: listUnits),
    ]
}

func convert(_ arguments: JSON) throws(ToolError) -> Answer {
    guard let value = arguments.member("value")?.number, value.isFinite else {
        throw ToolError("value must be a number, for example 5 or 0.25.")
    }
    let (kind, from) = try unit(arguments.member("from"), "from")
    let (otherKind, to) = try unit(arguments.member("to"), "to")
    guard kind.name == otherKind.name else {
        throw ToolError(
            "\(from.symbol) is \(kind.phrase) and \(to.symbol) is \(otherKind.phrase): one cannot become the other."
        )
    }
    let base = value * from.factor + from.offset
    // Rounding in the line above can miss zero by a hair; nobody asks for a temperature that close to it.
    if kind.hasLowestValue, base < -1e-9 {
        throw ToolError("There is no temperature below absolute zero (0 K, -273.15 C, -459.67 F).")
    }
    let result = (base - to.offset) / to.factor
    guard result.isFinite, result.magnitude < 1e300 else { throw ToolError("The result is too large to be written.") }
    let digits = precision()
    return .text(
        "\(Decimal.text(value, digits: 15)) \(from.symbol) = \(Decimal.text(result, digits: digits)) \(to.symbol)")
}

/// Significant digits of the answer: 10, or what the operator set as `config = { precision = "6" }`.
func precision() -> Int {
    guard let text = configured("precision"), let digits = text.integer else { return 10 }
    return min(max(digits, 1), 15)
}

func unit(_ argument: JSON?, _ name: Text) throws(ToolError) -> (quantity: Quantity, unit: Unit) {
    guard let text = argument?.string else {
        throw ToolError("\(name) must be the name of a unit, for example km, lb or C.")
    }
    // Symbols as they are written, since Mm and mm are not the same; names in any case.
    let word = [0x20] + text.bytes.map { $0 >= 0x41 && $0 <= 0x5a ? $0 + 0x20 : $0 } + [0x20]
    for quantity in quantities {
        for unit in quantity.units where unit.symbol == text || contains(unit.names, word) {
            return (quantity, unit)
        }
    }
    throw ToolError("\"\(text)\" is no unit that this tool knows. It knows \(catalogue(separator: "; ")).")
}

func listUnits(_ arguments: JSON) throws(ToolError) -> Answer { .text(catalogue(separator: "\n")) }

func catalogue(separator: Text) -> Text {
    var text: Text = ""
    for quantity in quantities {
        if !text.isEmpty { text += separator }
        text += "\(quantity.name): "
        for (index, unit) in quantity.units.enumerated() {
            if index > 0 { text += ", " }
            text += unit.symbol
        }
    }
    return text
}

/// Whether a name, with the spaces around it, is one of `names`.
func contains(_ names: Text, _ word: [UInt8]) -> Bool {
    let names = names.bytes
    guard word.count > 2, word.count <= names.count, !word.dropFirst().dropLast().contains(0x20) else { return false }
    for start in 0...(names.count - word.count) where names[start..<(start + word.count)].elementsEqual(word) {
        return true
    }
    return false
}
