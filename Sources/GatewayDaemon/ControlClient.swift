// Licensed under the Apache License 2.0; see LICENSE.

internal import Glibc
internal import MCPWire

/// Asks a running gateway over its control socket. One question a connection, answered within five seconds or not at
/// all; a few orders may take as long as reading the whole database does.
package struct ControlClient: Sendable {
    private let socketPath: String

    package init(socketPath: String) { self.socketPath = socketPath }

    /// The answer of `/health`.
    package struct Health: Sendable {
        /// The JSON as it came.
        package let text: String
        package let canServe: Bool
        let json: JSONValue

        /// For people.
        package var screen: String {
            let version = json["version"]?.stringValue ?? "?"
            var lines = ["mcp-gateway \(version): \(json["status"]?.stringValue ?? "?")"]
            let components = json["components"]?.arrayValue ?? []
            let width = components.compactMap { $0["name"]?.stringValue?.count }.max() ?? 0
            for component in components {
                let name = component["name"]?.stringValue ?? ""
                let status = component["status"]?.stringValue ?? ""
                let pad = String(repeating: " ", count: width - name.count)
                let fill = String(repeating: " ", count: max(0, 9 - status.count))
                lines.append("  \(name)\(pad)  \(status)\(fill)  \(component["detail"]?.stringValue ?? "")")
            }
            return lines.joined(separator: "\n")
        }
    }

    /// Whether a process listens there.
    package var isAnswered: Bool {
        guard let connection = try? connect() else { return false }
        close(connection)
        return true
    }

    package func health() async throws(StartError) -> Health {
        let (status, body) = try get("/health")
        guard let json = try? JSONValue.parse(body) else {
            throw StartError("what answers at \(socketPath) is not this gateway")
        }
        return Health(text: body, canServe: status == 200, json: json)
    }

    /// What would become of a call.
    package struct Explanation: Sendable {
        let answer: JSONValue

        package var isAllowed: Bool { answer["verdict"]?.stringValue == "allowed" }
        package var json: String { answer.text }

        /// One line for each step.
        package var screen: String {
            let steps = answer.objectValue ?? []
            let width = steps.map(\.key.count).max() ?? 0
            return steps.map { step in
                let name = step.key.split(separator: "_").joined(separator: " ")
                let value = step.value.stringValue ?? step.value.text
                return name + String(repeating: " ", count: width - name.count + 2) + value
            }.joined(separator: "\n")
        }
    }

    /// What would become of a call of this tool.
    package func explain(_ tool: String) async throws(StartError) -> Explanation {
        let isPlain = tool.utf8.allSatisfy { byte in
            SettingsUnits.isNameByte(byte) || byte == UInt8(ascii: ".")
        }
        guard isPlain, !tool.isEmpty else { throw StartError("a tool's name is letters, digits, - and _") }
        let (status, body) = try get("/admin/explain?tool=\(tool)")
        guard status == 200, let json = try? JSONValue.parse(body) else {
            throw StartError("the gateway at \(socketPath) cannot explain (HTTP status \(status)); is it an older one?")
        }
        return Explanation(answer: json)
    }

    private func get(_ path: String) throws(StartError) -> (status: Int, body: String) { try ask("GET", path) }

    /// - Parameter patience: how long the gateway may be silent.
    func ask(
        _ verb: String, _ path: String, body: String? = nil, patience: Duration = .seconds(5)
    ) throws(StartError) -> (status: Int, body: String) {
        let connection = try connect()
        defer { close(connection) }
        let seconds = patience.components.seconds
        var limit = timeval(tv_sec: Int(seconds), tv_usec: 0)
        unsafe setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var text = "\(verb) \(path) HTTP/1.0\r\nhost: localhost\r\n"
        if let body { text += "content-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n" }
        let request = Array((text + "\r\n" + (body ?? "")).utf8)
        let sent = unsafe request.withUnsafeBytes { unsafe write(connection, $0.baseAddress, $0.count) }
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
    func connect() throws(StartError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(socketPath.utf8)
        guard path.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw StartError("the path of the control socket is too long: \(socketPath)")
        }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
        let connection = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard connection >= 0 else { throw StartError("no socket to be had: \(SystemText.of(errno))") }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe Glibc.connect(connection, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            let reason = errno
            close(connection)
            switch reason {
            case ENOENT, ECONNREFUSED:
                throw StartError(
                    "no gateway is running here (nothing answers at \(socketPath)); start it, or name its --config")
            case EACCES:
                throw StartError("you may not use \(socketPath); be root or a member of the gateway's group")
            default: throw StartError("cannot reach \(socketPath): \(SystemText.of(reason))")
            }
        }
        return connection
    }
}
