// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

extension LoadReader {
    /// Of the machine, or the container, that this process runs in.
    package static var machine: LoadReader {
        LoadReader(
            read: { contents(ofFile: $0) }, onlineCores: { sysconf(Int32(_SC_NPROCESSORS_ONLN)) },
            ticksPerSecond: sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The kernel makes these files up when they are read, so that reading them waits for nothing.
    private static func contents(ofFile path: String) -> [UInt8]? {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var out: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while out.count <= fileBytesMax {
            let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return out }
            out.append(contentsOf: chunk[..<count])
        }
        return nil
    }
}
