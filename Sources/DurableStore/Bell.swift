// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Telemetry

/// Wakes one sleeping thread from any other. Rings that come before anybody listens are not lost, and many count as
/// one.
final class Bell: Sendable {
    private let hears: Int32
    private let rings: Int32

    init() throws(StoreError) {
        var ends: [Int32] = [-1, -1]
        // Unlike a pipe it is closed for children from its first moment on.
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw .unusable(what: "a pipe for the store's thread", detail: SystemError.text(errno))
        }
        (hears, rings) = (ends[0], ends[1])
    }

    deinit {
        close(hears)
        close(rings)
    }

    func ring() {
        var byte: UInt8 = 1
        // A full pipe is a bell that rings already.
        _ = unsafe write(rings, &byte, 1)
    }

    /// Sleeps until it rings or the time is over; without a time until it rings. Whether it rang.
    @discardableResult
    func wait(milliseconds: Int32?) -> Bool {
        var entry = pollfd(fd: hears, events: Int16(POLLIN), revents: 0)
        let rang = unsafe poll(&entry, 1, milliseconds ?? -1) > 0
        var rung = [UInt8](repeating: 0, count: 256)
        while unsafe read(hears, &rung, rung.count) == rung.count {}
        return rang
    }
}
