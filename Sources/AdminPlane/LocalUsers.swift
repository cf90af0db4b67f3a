// Licensed under the Apache License 2.0; see LICENSE.

/// Whose programs on this machine are operators, from the words of `admin.local`.
///
/// Looked up once: somebody who joins a group later is let in from the next reload on.
package struct LocalUsers: Sendable, Equatable {
    private let ids: Set<UInt32>
    /// Names that nobody and nothing has here. They let nobody in.
    package let unknown: [String]

    /// What holds when the configuration says nothing.
    package static let standard = ["root", "self"]

    /// - Parameter names: of users; `@group` for every member of a group; `self` for the user the gateway runs as.
    package init(_ names: [String], accounts: Accounts = .machine) {
        var ids: Set<UInt32> = []
        var unknown: [String] = []
        for name in names {
            let found: [UInt32]?
            if name == "self" {
                found = [accounts.own()]
            } else if name.hasPrefix("@") {
                found = accounts.members(String(name.dropFirst()))
            } else {
                found = accounts.user(name).map { [$0] }
            }
            if let found { ids.formUnion(found) } else { unknown.append(name) }
        }
        self.ids = ids
        self.unknown = unknown
    }

    func contains(_ uid: UInt32) -> Bool { ids.contains(uid) }
}
