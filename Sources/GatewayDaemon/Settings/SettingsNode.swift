// Licensed under the Apache License 2.0; see LICENSE.

import TOMLKit

/// A parsed configuration file as plain values, so that nothing behind this file knows TOMLKit.
enum SettingsNode: Equatable {
    struct Entry: Equatable {
        let name: String
        let node: SettingsNode
    }

    case text(String)
    case integer(Int)
    case fraction(Double)
    case flag(Bool)
    case list([SettingsNode])
    case table([Entry])
    /// A value that no key takes, by its name in words.
    case other(String)

    /// What it is, for "is …, not …".
    var words: String {
        switch self {
        case .text: "a text"
        case .integer: "a whole number"
        case .fraction: "a number with a fraction"
        case .flag: "true or false"
        case .list: "a list"
        case .table: "a table"
        case .other(let words): words
        }
    }

    /// A text that is not TOML.
    struct SyntaxError: Error {
        let line: Int
        let column: Int
        let message: String
    }

    /// Parses a text that `TOMLLines` has found harmless.
    static func parse(_ text: String) throws(SyntaxError) -> SettingsNode {
        let table: TOMLTable
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw SyntaxError(
                line: error.source.begin.line, column: error.source.begin.column, message: error.description)
        } catch {
            throw SyntaxError(line: 1, column: 1, message: "\(error)")
        }
        return node(table)
    }

    private static func node(_ table: TOMLTable) -> SettingsNode {
        // Both lists come in the same order. Looking values up by name would trust that each name survives as a C
        // string.
        .table(zip(table.keys, table.values).map { Entry(name: $0, node: node($1)) })
    }

    private static func node(_ value: TOMLValue) -> SettingsNode {
        switch value.type {
        case .table: value.table.map { node($0) } ?? .other("a table that cannot be read")
        case .array: .list((value.array.map { Array($0) } ?? []).map { node($0.tomlValue) })
        case .string: .text(value.string ?? "")
        case .int: .integer(value.int ?? 0)
        case .bool: .flag(value.bool ?? false)
        case .double: value.double.map { .fraction($0) } ?? .other("a number that cannot be read")
        case .date: .other("a date")
        case .time: .other("a time of day")
        case .dateTime: .other("a date and time")
        }
    }
}
