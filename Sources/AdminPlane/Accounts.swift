// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// The users and groups of a machine. May take as long as its name service does.
package struct Accounts: Sendable {
    /// The id of a user; nil when there is none of this name.
    var user: @Sendable (_ name: String) -> UInt32?
    /// The users of a group, be it their first one or a further one; nil when there is none of this name.
    var members: @Sendable (_ group: String) -> [UInt32]?
    /// The user of this process.
    var own: @Sendable () -> UInt32

    package static let machine = Accounts(
        user: { Self.id(of: $0) }, members: { Self.members(of: $0) }, own: { geteuid() })

    private static func id(of name: String) -> UInt32? {
        var account = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        return unsafe withRoom { base, size in
            unsafe getpwnam_r(name, &account, base, size, &found) == 0 && found != nil ? account.pw_uid : nil
        }
    }

    private static func members(of name: String) -> [UInt32]? {
        var entry = unsafe group()
        var found: UnsafeMutablePointer<group>?
        let result: (id: UInt32, names: [String])? = unsafe withRoom { base, size in
            guard unsafe getgrnam_r(name, &entry, base, size, &found) == 0, unsafe found != nil else { return nil }
            var names: [String] = []
            var next = unsafe entry.gr_mem
            while let list = unsafe next, let one = unsafe list.pointee {
                unsafe names.append(String(cString: one))
                unsafe next = list.successor()
            }
            return unsafe (entry.gr_gid, names)
        }
        guard let result else { return nil }
        return result.names.compactMap(id) + ofPrimaryGroup(result.id)
    }

    /// The group's list does not name those whose first group it is.
    private static func ofPrimaryGroup(_ id: UInt32) -> [UInt32] {
        unsafe withRoom { base, size in
            var ids: [UInt32] = []
            var account = unsafe passwd()
            var found: UnsafeMutablePointer<passwd>?
            setpwent()
            defer { endpwent() }
            while unsafe getpwent_r(&account, base, size, &found) == 0 {
                if unsafe account.pw_gid == id { unsafe ids.append(account.pw_uid) }
            }
            return ids
        }
    }

    /// Room for the texts of one entry. A group with very many members needs more than a user.
    private static func withRoom<T>(_ body: (UnsafeMutablePointer<CChar>, Int) -> T) -> T {
        let size = 1 << 20
        let room = UnsafeMutablePointer<CChar>.allocate(capacity: size)
        defer { unsafe room.deallocate() }
        return unsafe body(room, size)
    }
}
