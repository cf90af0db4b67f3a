// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc

/// Asks a running gateway over its control socket. One question a connection, answered within five seconds or not at
/// all; a few orders may take as long as reading the whole database does.
package struct ControlClient: Sendable {
    private let socketPath: String

    package init(socketPath: String) { self.socketPath = socketPath }

    /// Whether a process listens there.
    package var isAnswered: Bool {
        guard let connection = try? connect() else { return false }
        close(connection)
        return true
    }

    /// False when no gateway runs; throws when that cannot be told.
    func isRunning() throws(StartError) -> Bool {
        guard let connection = try connectIfThere(patience: .seconds(5)) else { return false }
        close(connection)
        return true
    }

    /// - Parameter patience: how long the gateway may be silent.
    func ask(
        _ verb: String, _ path: String, body: String? = nil, patience: Duration = .seconds(5)
    ) throws(StartError) -> (status: Int, body: String) {
        let connection = try connect(patience: min(patience, .seconds(5)))
        defer { close(connection) }
        let seconds = patience.components.seconds
        Self.limit(SO_RCVTIMEO, of: connection, to: patience)
        var text = "\(verb) \(path) HTTP/1.0\r\nhost: localhost\r\n"
        if let body { text += "content-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n" }
        let request = Array((text + "\r\n" + (body ?? "")).utf8)
        // A gateway that ends just now must not end whoever asks it.
        let sent = unsafe request.withUnsafeBytes {
            unsafe send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == request.count else { throw StartError("the gateway does not read from \(socketPath)") }
        var answer: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while answer.count < 4 << 20 {
            let count = unsafe piece.withUnsafeMutableBytes { unsafe read(connection, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            answer.append(contentsOf: piece[..<count])
        }
        let whole = String(decoding: answer, as: UTF8.self)
        guard let end = whole.firstRange(of: "\r\n\r\n"),
            let status = Int(whole.split(separator: " ").dropFirst().first ?? "")
        else {
            throw StartError(
                "the gateway gave no answer at \(socketPath) within \(SettingsUnits.text(.seconds(seconds)))"
                    + (verb == "GET" ? "" : "; the order may be carried out all the same: look before you repeat it"))
        }
        return (status, String(whole[end.upperBound...]))
    }

    /// A descriptor of the socket, which the caller closes.
    func connect(patience: Duration? = nil) throws(StartError) -> Int32 {
        if let connection = try connectIfThere(patience: patience) { return connection }
        throw StartError(
            "no gateway is running here (nothing answers at \(socketPath)); start it, or name its --config")
    }

    /// nil when nobody listens there.
    ///
    /// - Parameter patience: how long it may take to be let in, and then each writing; nil for any time.
    private func connectIfThere(patience: Duration? = nil) throws(StartError) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socketPath.utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw StartError("the path of the control socket is too long: \(socketPath)")
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
        let connection = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard connection >= 0 else { throw StartError("no socket to be had: \(SystemText.of(errno))") }
        // A socket whose process stands still would be waited for without an end.
        if let patience { Self.limit(SO_SNDTIMEO, of: connection, to: patience) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe Glibc.connect(connection, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let reason = errno
            close(connection)
            switch reason {
            case ENOENT, ECONNREFUSED: return nil
            case EAGAIN: throw StartError("the gateway does not answer at \(socketPath); is it stopped, or overrun?")
            case EACCES:
                throw StartError("you may not use \(socketPath); be root or a member of the gateway's group")
            default: throw StartError("cannot reach \(socketPath): \(SystemText.of(reason))")
            }
        }
        return connection
    }

    private static func limit(_ option: Int32, of connection: Int32, to patience: Duration) {
        var limit = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
        unsafe setsockopt(connection, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
}
