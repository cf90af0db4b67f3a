// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Telemetry

/// Whose process this is.
package enum StorageOwner {
    /// Makes the storage directory and those above it, as the store does: the group may look, and what is in it is the
    /// group's too.
    package static func makeDirectory(_ path: String) throws(StoreError) { try StorageFiles.make(directory: path) }

    /// A gateway that root starts by hand beside the service would leave files that the service cannot write. So root
    /// becomes the owner of the storage directory (user, group, supplementary groups) for good, before anything is
    /// opened.
    ///
    /// Call it first thing, while the process has one thread. Returns the user it became, or nil when there was
    /// nothing to do: not root, no such directory, or the directory is root's own.
    package static func become(of directory: String) throws(StoreError) -> UInt32? {
        var entry = stat()
        guard geteuid() == 0, unsafe stat(directory, &entry) == 0, entry.st_uid != 0 else { return nil }
        let user = entry.st_uid
        var group = entry.st_gid
        var grouped = false
        var room = [CChar](repeating: 0, count: 16_384)
        unsafe room.withUnsafeMutableBufferPointer { room in
            var account = unsafe passwd()
            var found: UnsafeMutablePointer<passwd>?
            guard let base = room.baseAddress,
                unsafe getpwuid_r(user, &account, base, room.count, &found) == 0, unsafe found != nil
            else { return }
            unsafe group = account.pw_gid
            unsafe grouped = initgroups(account.pw_name, group) == 0
        }
        if !grouped { grouped = unsafe setgroups(1, &group) == 0 }
        guard grouped, setgid(group) == 0, setuid(user) == 0, geteuid() == user, getuid() == user else {
            throw .unusable(
                what: directory,
                detail: "it belongs to user \(user) and root could not become that user (\(SystemError.text(errno))); "
                    + "start the gateway as that user")
        }
        return user
    }
}
