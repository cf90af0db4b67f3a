// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import Glibc

/// What stands between a user and a file, by owners, groups and modes. Root is asked for others: it reads everything,
/// and does not see what the service's user will run into.
struct FileRights {
    /// Whose rights are looked at.
    struct Reader: Equatable {
        let user: UInt32
        let name: String
        let groups: [UInt32]
        /// The first of them, by its name.
        let group: String
    }

    /// The first folder on the way that may not be entered, or the file itself.
    struct Obstacle: Equatable {
        let path: String
        let isFolder: Bool
        let mode: UInt32
        let reader: Reader
        /// Whose members may; nil where that is nobody's group but root's.
        let group: String?

        /// Why, as the end of a sentence.
        var reason: String {
            let bits = String(mode & 0o7777, radix: 8)
            let padded = String(repeating: "0", count: max(0, 4 - bits.count)) + bits
            return (isFolder ? "\(path) has mode \(padded)" : "mode \(padded)") + ": user \(reader.name) may not "
                + (isFolder ? "look into it" : "read it")
        }

        /// For whoever may change the file: the service is to read it.
        var mending: String { "chmod \(isFolder ? "750" : "640") \(path), chgrp \(reader.group) \(path)" }

        /// For a person who is a stranger to it; nil where no group would help.
        var joining: String? {
            group.map { "be root or a member of the group \($0): adduser \(reader.name) \($0)" }
        }
    }

    /// That of this process.
    static func ownReader() -> Reader {
        var groups = [gid_t](repeating: 0, count: 65_536)
        let count = unsafe getgroups(Int32(groups.count), &groups)
        return reader(geteuid(), groups: [getegid()] + groups.prefix(max(0, Int(count))))
    }

    /// The owner of a directory; nil where that is root, or there is no such directory.
    static func owner(of directory: String) -> Reader? {
        var entry = stat()
        guard unsafe stat(directory, &entry) == 0, entry.st_uid != 0 else { return nil }
        let own = account(entry.st_uid)
        let first = own?.group ?? entry.st_gid
        var groups = [gid_t](repeating: 0, count: 1_024)
        var count = Int32(groups.count)
        guard let own, unsafe getgrouplist(own.name, first, &groups, &count) >= 0 else {
            return reader(entry.st_uid, groups: [first])
        }
        return reader(entry.st_uid, groups: [first] + groups.prefix(Int(count)))
    }

    private static func reader(_ user: UInt32, groups: [UInt32]) -> Reader {
        Reader(
            user: user, name: account(user)?.name ?? "\(user)", groups: groups, group: groupName(groups.first ?? 0))
    }

    /// Looks at every folder on the way to a file, links followed, and at the file. Nil when nothing is in the way, as
    /// far as modes tell: where lists of more users are kept beside them, they decide, and are not read here.
    static func obstacle(to path: String, for reader: Reader) -> Obstacle? {
        guard reader.user != 0 else { return nil }
        var resolved = path
        if let real = unsafe realpath(path, nil) {
            resolved = unsafe String(cString: real)
            unsafe free(real)
        }
        var walked = ""
        let parts = resolved.split(separator: "/")
        for (place, part) in parts.enumerated() {
            walked += "/\(part)"
            var entry = stat()
            guard unsafe stat(walked, &entry) == 0 else { return nil }
            let isFolder = place + 1 < parts.count
            let bit: UInt32 = isFolder ? S_IXOTH : S_IROTH
            let shift: UInt32 =
                entry.st_uid == reader.user ? 6 : reader.groups.contains(entry.st_gid) ? 3 : 0
            guard entry.st_mode & (bit << shift) == 0, unsafe csystem_has_access_list(walked) == 0 else { continue }
            let opensToGroup = shift == 0 && entry.st_gid != 0 && entry.st_mode & (bit << 3) != 0
            return Obstacle(
                path: walked, isFolder: isFolder, mode: entry.st_mode, reader: reader,
                group: opensToGroup ? groupName(entry.st_gid) : nil)
        }
        return nil
    }

    private static func account(_ user: UInt32) -> (name: String, group: UInt32)? {
        var entry = unsafe passwd()
        var found: UnsafeMutablePointer<passwd>?
        var room = [CChar](repeating: 0, count: 16_384)
        return unsafe room.withUnsafeMutableBufferPointer { room in
            guard let base = room.baseAddress,
                unsafe getpwuid_r(user, &entry, base, room.count, &found) == 0, unsafe found != nil
            else { return nil }
            return unsafe (String(cString: entry.pw_name), entry.pw_gid)
        }
    }

    private static func groupName(_ id: UInt32) -> String {
        var entry = unsafe group()
        var found: UnsafeMutablePointer<group>?
        var room = [CChar](repeating: 0, count: 65_536)
        let name: String? = unsafe room.withUnsafeMutableBufferPointer { room in
            guard let base = room.baseAddress,
                unsafe getgrgid_r(id, &entry, base, room.count, &found) == 0, unsafe found != nil
            else { return nil }
            return unsafe String(cString: entry.gr_name)
        }
        return name ?? "\(id)"
    }
}
