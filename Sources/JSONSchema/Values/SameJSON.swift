// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// A value as JSON Schema compares it: 1 is 1.0, and the order of an object's members does not matter.
struct SameJSON: Hashable {
    let value: JSONValue

    init(_ value: JSONValue) { self.value = value }

    static func == (left: SameJSON, right: SameJSON) -> Bool { isSame(left.value, right.value) }

    static func isSame(_ left: JSONValue, _ right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.number(let a), .number(let b)): Name.isSame(a, b) || Decimal(a) == Decimal(b)
        case (.string(let a), .string(let b)): Name.isSame(a, b)
        case (.array(let a), .array(let b)):
            a.count == b.count && zip(a, b).allSatisfy { isSame($0, $1) }
        case (.object(let a), .object(let b)): a.count == b.count && hasSameMembers(a, b)
        default: false
        }
    }

    private static func hasSameMembers(
        _ left: [(key: String, value: JSONValue)], _ right: [(key: String, value: JSONValue)]
    ) -> Bool {
        // The usual case first: written by the same program, in the same order.
        if zip(left, right).allSatisfy({ Name.isSame($0.key, $1.key) }) {
            return zip(left, right).allSatisfy { isSame($0.value, $1.value) }
        }
        var index: [Name: JSONValue] = [:]
        for member in right { index[Name(member.key)] = member.value }
        return left.allSatisfy { member in
            guard let other = index[Name(member.key)] else { return false }
            return isSame(member.value, other)
        }
    }

    func hash(into hasher: inout Hasher) { Self.hash(value, into: &hasher) }

    private static func hash(_ value: JSONValue, into hasher: inout Hasher) {
        switch value {
        case .null: hasher.combine(0)
        case .bool(let flag): hasher.combine(flag ? 1 : 2)
        case .number(let text):
            hasher.combine(3)
            hasher.combine(Decimal(text))
        case .string(let text):
            hasher.combine(4)
            hasher.combine(Name(text))
        case .array(let items):
            hasher.combine(5)
            hasher.combine(items.count)
            for item in items { hash(item, into: &hasher) }
        case .object(let members):
            // A sum does not depend on the order. Each summand is the result of a keyed hash, so that nobody can
            // choose members that cancel each other.
            var sum = 0
            for member in members {
                var own = Hasher()
                own.combine(Name(member.key))
                hash(member.value, into: &own)
                sum &+= own.finalize()
            }
            hasher.combine(6)
            hasher.combine(members.count)
            hasher.combine(sum)
        }
    }

    /// Digits of a number that are read in the time of one step.
    static let digitsPerStep = 4

    /// How much work it is to hash or compare the value, in steps; the count ends a little above `stop`.
    static func weight(of value: JSONValue, stop: Int) -> Int {
        switch value {
        case .null, .bool: return 1
        case .number(let text): return 1 + text.utf8.count / digitsPerStep
        case .string(let text): return 1 + text.utf8.count / 64
        case .array(let items):
            var sum = 1
            for item in items where sum <= stop { sum += weight(of: item, stop: stop - sum) }
            return sum
        case .object(let members):
            var sum = 1
            for member in members where sum <= stop {
                sum += 1 + member.key.utf8.count / 64 + weight(of: member.value, stop: stop - sum)
            }
            return sum
        }
    }
}
