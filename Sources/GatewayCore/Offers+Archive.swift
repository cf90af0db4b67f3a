// Licensed under the Apache License 2.0; see LICENSE.

extension Offers {
    /// First byte of an archive; another form gets another one.
    private static let form: UInt8 = 1

    /// Everything in a row of bytes, to be kept on disk. Each text is preceded by its length in four bytes.
    package var archived: [UInt8] {
        var out: [UInt8] = [Self.form, (completes ? 1 : 0) | (announcesUpdates ? 2 : 0)]
        func put(_ bytes: some Collection<UInt8>) {
            let count = UInt32(clamping: bytes.count)
            out += (0..<4).map { UInt8(truncatingIfNeeded: count >> UInt32(8 * (3 - $0))) }
            out += bytes
        }
        put((instructions ?? "").utf8)
        for list in [tools, prompts, resources, templates] {
            put(String(list.count).utf8)
            for item in list {
                put(item.name.utf8)
                put(item.definition)
            }
        }
        return out
    }

    /// nil for bytes that are no archive.
    package init?(archived bytes: [UInt8]) {
        guard bytes.count > 2, bytes[0] == Self.form else { return nil }
        var rest = bytes.dropFirst(2)
        func take() -> [UInt8]? {
            guard rest.count >= 4 else { return nil }
            let count = Int(rest.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
            rest = rest.dropFirst(4)
            guard rest.count >= count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return Array(rest.prefix(count))
        }
        guard let words = take() else { return nil }
        var lists: [[OfferedItem]] = []
        for _ in 0..<4 {
            guard let text = take(), let count = Int(String(decoding: text, as: UTF8.self)) else { return nil }
            var items: [OfferedItem] = []
            for _ in 0..<count {
                guard let name = take(), let definition = take() else { return nil }
                items.append(OfferedItem(name: String(decoding: name, as: UTF8.self), definition: definition))
            }
            lists.append(items)
        }
        self.init(tools: lists[0], prompts: lists[1], resources: lists[2], templates: lists[3])
        completes = bytes[1] & 1 != 0
        announcesUpdates = bytes[1] & 2 != 0
        instructions = words.isEmpty ? nil : String(decoding: words, as: UTF8.self)
    }
}
