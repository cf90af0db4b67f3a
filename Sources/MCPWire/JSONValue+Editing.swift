// Licensed under the Apache License 2.0; see LICENSE.

extension JSONValue {
    /// The same object without these members; anything but an object stays as it is.
    public func without(_ keys: String...) -> JSONValue {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { member in !keys.contains { $0.utf8.elementsEqual(member.key.utf8) } })
    }

    /// The same object with this member, in its old place when it had one; anything but an object stays as it is.
    public func with(_ key: String, _ value: JSONValue) -> JSONValue {
        guard case .object(var members) = self else { return self }
        if let index = members.firstIndex(where: { $0.key.utf8.elementsEqual(key.utf8) }) {
            members[index].value = value
        } else {
            members.append((key, value))
        }
        return .object(members)
    }

    /// The same object with the member changed, when it has one.
    public func mapping(_ key: String, _ change: (JSONValue) -> JSONValue) -> JSONValue {
        guard let value = self[key] else { return self }
        return with(key, change(value))
    }

    /// The same value with the members of all objects in the order of their keys' bytes: two texts that say the same
    /// become one. Numbers keep their spelling.
    public var canonical: JSONValue {
        switch self {
        case .null, .bool, .number, .string: self
        case .array(let items): .array(items.map(\.canonical))
        case .object(let members):
            .object(
                members.map { (key: $0.key, value: $0.value.canonical) }
                    .sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) })
        }
    }

    public var isObject: Bool { objectValue != nil }
}
