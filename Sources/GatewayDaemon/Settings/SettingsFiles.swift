// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// What reading a configuration may ask of the file system. Tests hand in a table of files.
package struct SettingsFiles: Sendable {
    package enum Kind: Sendable { case absent, file, directory, other }

    /// Why a file could not be read, as the end of a sentence.
    package struct Unreadable: Error, Equatable {
        package let reason: String
        /// What to do about it, where that is known.
        package let advice: String?

        package init(reason: String, advice: String? = nil) {
            self.reason = reason
            self.advice = advice
        }
    }

    /// The bytes of a regular file of at most so many bytes. Never waits for a pipe or a device: it refuses them.
    package var read: @Sendable (_ path: String, _ bytesMax: Int) throws(Unreadable) -> [UInt8]
    package var kind: @Sendable (_ path: String) -> Kind
    package var isReadable: @Sendable (_ path: String) -> Bool
    package var isExecutable: @Sendable (_ path: String) -> Bool
    /// Whether users may read it who are neither its owner nor in its group.
    package var isOpenToOthers: @Sendable (_ path: String) -> Bool
    /// Where relative names of the command line begin.
    package var currentDirectory: @Sendable () -> String
    /// What keeps the owner of a directory from a file that this process, which is root, may read; nil where nothing
    /// does.
    package var hiddenFromOwner: @Sendable (_ path: String, _ directory: String) -> Unreadable?
    /// Seconds since 1970, for what is valid until some day.
    package var now: @Sendable () -> Int

    package init(
        read: @escaping @Sendable (String, Int) throws(Unreadable) -> [UInt8],
        kind: @escaping @Sendable (String) -> Kind, isReadable: @escaping @Sendable (String) -> Bool,
        isExecutable: @escaping @Sendable (String) -> Bool, currentDirectory: @escaping @Sendable () -> String,
        isOpenToOthers: @escaping @Sendable (String) -> Bool = { _ in false },
        hiddenFromOwner: @escaping @Sendable (String, String) -> Unreadable? = { _, _ in nil },
        now: @escaping @Sendable () -> Int = { time(nil) }
    ) {
        self.read = read
        self.kind = kind
        self.isReadable = isReadable
        self.isExecutable = isExecutable
        self.isOpenToOthers = isOpenToOthers
        self.currentDirectory = currentDirectory
        self.hiddenFromOwner = hiddenFromOwner
        self.now = now
    }

    /// The machine's own files.
    package static var machine: SettingsFiles {
        SettingsFiles(
            read: { path, bytesMax throws(Unreadable) in try readFile(path, bytesMax) },
            kind: { path in
                var status = stat()
                return unsafe stat(path, &status) == 0 ? kind(status) : .absent
            },
            isReadable: { unsafe access($0, R_OK) == 0 },
            isExecutable: { unsafe access($0, X_OK) == 0 },
            currentDirectory: {
                guard let name = unsafe getcwd(nil, 0) else { return "/" }
                defer { unsafe free(name) }
                return unsafe String(cString: name)
            },
            isOpenToOthers: { path in
                var status = stat()
                return unsafe stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
            },
            hiddenFromOwner: { path, directory in
                guard geteuid() == 0, let owner = FileRights.owner(of: directory) else { return nil }
                return FileRights.obstacle(to: path, for: owner).map {
                    Unreadable(reason: $0.reason, advice: $0.mending)
                }
            })
    }

    /// For a person who may not read a file because it is for the members of a group: how to become one.
    package static func invitation(to path: String) -> String? {
        guard unsafe access(path, R_OK) != 0, errno == EACCES else { return nil }
        return FileRights.obstacle(to: path, for: FileRights.ownReader())?.joining
    }

    private static func kind(_ status: stat) -> Kind {
        switch status.st_mode & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        default: .other
        }
    }

    private static func readFile(_ path: String, _ bytesMax: Int) throws(Unreadable) -> [UInt8] {
        // Without O_NONBLOCK a named pipe would hold us here until somebody writes to it.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw refusal(path, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw Unreadable(reason: words(errno)) }
        switch kind(status) {
        case .file: break
        case .directory: throw Unreadable(reason: "it is a directory")
        case .other, .absent: throw Unreadable(reason: "it is not a regular file")
        }
        // Until the end instead of by the size: the kernel's own files say that they are empty. One byte more than
        // allowed shows a file
        // that is too long.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= bytesMax {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe Glibc.read(descriptor, buffer.baseAddress, min(buffer.count, bytesMax + 1 - bytes.count))
            }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Unreadable(reason: words(errno)) }
            if count == 0 { return bytes }
            bytes += chunk.prefix(count)
        }
        throw Unreadable(reason: "it has more than \(bytesMax) bytes")
    }

    private static func refusal(_ path: String, _ code: Int32) -> Unreadable {
        guard code == EACCES, let obstacle = FileRights.obstacle(to: path, for: FileRights.ownReader()) else {
            return Unreadable(reason: words(code))
        }
        guard let joining = obstacle.joining else {
            return Unreadable(reason: obstacle.reason, advice: obstacle.mending)
        }
        return Unreadable(reason: "user \(obstacle.reader.name) may not read it", advice: joining)
    }

    private static func words(_ code: Int32) -> String {
        switch code {
        case ENOENT, ENOTDIR: "there is no such file"
        case EACCES, EPERM: "this user may not read it"
        default: unsafe String(cString: strerror(code))
        }
    }
}
