// Licensed under the Apache License 2.0; see LICENSE.

/// The control groups that bind this process, for one kind of limit: its own, those around it, and the root of the
/// mount last. A limit of any of them holds.
struct GroupBranch: Equatable {
    /// Version 2 of control groups: one tree for all limits, and other names of files.
    let isUnified: Bool
    /// Where the groups' files are, the innermost first.
    let directories: [String]

    /// Groups nested deeper than this, and longer paths, are not looked at: nobody nests them so, and looking costs.
    private static let depthMax = 32
    private static let pathBytesMax = 4_096
    private static let mount = "/sys/fs/cgroup"

    /// Finds them anew: a process may be moved while it runs.
    ///
    /// - Parameters:
    ///   - controller: `memory` or `cpu`.
    ///   - membership: the text of `/proc/self/cgroup`.
    ///   - read: the contents of a file, nil where there is none.
    /// - Returns: nil where no groups can be seen.
    static func find(_ controller: String, membership: KernelText, read: (String) -> [UInt8]?) -> GroupBranch? {
        var unifiedPath: String?
        for line in membership.lines {
            let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let path = String(decoding: fields[2].prefix(pathBytesMax), as: UTF8.self)
            if fields[1].isEmpty { unifiedPath = path }
            let controllers = fields[1].split(separator: UInt8(ascii: ","))
            guard controllers.contains(where: { $0.elementsEqual(controller.utf8) }) else { continue }
            // A controller is in one tree only. Controllers of version 1 that share a tree are mounted under both
            // names, `cpu,cpuacct`; which of them comes first is the distribution's taste, but `cpu` alone leads there.
            let together = String(decoding: fields[1], as: UTF8.self)
            let roots = ["\(mount)/\(together)", "\(mount)/\(controller)"]
            return branch(path, roots: roots, mark: "cgroup.clone_children", isUnified: false, read)
        }
        return unifiedPath.flatMap { path in
            branch(path, roots: [mount, "\(mount)/unified"], mark: "cgroup.controllers", isUnified: true, read)
        }
    }

    /// - Parameter mark: a small file that every group of this version has.
    private static func branch(
        _ path: String, roots: [String], mark: String, isUnified: Bool, _ read: (String) -> [UInt8]?
    ) -> GroupBranch? {
        guard let root = roots.first(where: { read("\($0)/\(mark)") != nil }) else { return nil }
        let names = path.split(separator: "/").prefix(depthMax)
        var directories = [root]
        for name in names { directories.append("\(directories[directories.count - 1])/\(name)") }
        // In a container the path may be the one that the host sees, or lead up out of what can be seen, while the root
        // of the mount is the container's own group.
        let isSeen = read("\(directories[directories.count - 1])/\(mark)") != nil
        return GroupBranch(isUnified: isUnified, directories: isSeen ? directories.reversed() : [root])
    }
}
