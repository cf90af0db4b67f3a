// Licensed under the Apache License 2.0; see LICENSE.

import Access
import GatewayCore
import GatewayTestKit
import Glibc
import HTTPListener
import Telemetry

@testable import MCPFront

/// Both transports over HTTP behind one door, with tokens of a test's own.
struct DoorBench {
    /// The lines of `security.log`.
    final class Lines: SecurityLog {
        let all = Collected<[(String, String)]>()
        func security(_ event: String, kind: SecurityKind, facts: [(String, String)]) {
            all.add([("event", event), ("kind", kind.rawValue)] + facts)
        }
        func fact(_ key: String) -> [String] { all.all.compactMap { line in line.first { $0.0 == key }?.1 } }
    }

    /// A folder with a book of tokens, which is gone with the test.
    final class Folder {
        let path: String

        init() {
            var template = Array("/tmp/door-test-XXXXXX".utf8CString)
            path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
        }

        deinit {
            for name in ["keys/tokens", "keys/tokens.lock"] { unlink("\(path)/\(name)") }
            for name in ["\(path)/keys", path] { rmdir(name) }
        }
    }

    let folder = Folder()
    let book: TokenBook
    let time = ManualTime(runs: true)
    let service = NotingService()
    let lines = Lines()
    let metrics = MetricsRegistry()
    let door: CallerDoor

    init(_ mode: CallerDoor.Mode = .token, hasDesk: Bool = true) throws {
        book = try TokenBook(directory: folder.path)
        let desk = hasDesk ? TokenDesk(book: book, time: time) : nil
        door = CallerDoor(mode: mode, desk: desk, log: lines, metrics: metrics, time: time)
    }

    func token(_ name: String, _ roles: Set<Role> = [.call], lasts: Int64? = nil) throws -> String {
        let now = time.wallMilliseconds()
        return try book.add(name: name, roles: roles, expiresAt: lasts.map { now + $0 }, now: now).secret
    }

    func use<T>(_ body: (ScriptedClient) async throws -> T) async throws -> T {
        let sessions = SessionBook(
            keys: .forTests, tombstones: MemoryTombstones(), time: time, lifetime: .seconds(3_600))
        let endpoint = MCPEndpoint(
            service: service, sessions: sessions, door: door, bodyBytesMax: 100_000, time: time,
            logs: try silentLogs(time))
        let old = EventSourceEndpoint(
            service: service, door: door, bodyBytesMax: 100_000, messagesPath: "/messages", time: time)
        let routes: [(path: String, route: any HTTPRoute, isForOperators: Bool)] = [
            ("/mcp", endpoint, false), ("/sse", old.stream, false), ("/messages", old.messages, false),
        ]
        return try await TestSite.start(routes).use { site in
            let value = try await site.client(body)
            endpoint.drain()
            old.drain()
            return value
        }
    }

    var failures: String? {
        String(decoding: metrics.render(), as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix("mcp_auth_failures_total ") }.map { String($0.dropFirst(24)) }
    }

    /// A call as a client of this era makes it, with these values of `Authorization`.
    static func request(_ values: [String], _ method: String = "tools/list") -> String {
        let text = RequestText.modern(method)
        guard let end = text.firstRange(of: "\r\n") else { return text }
        let headers = values.map { "authorization: \($0)\r\n" }.joined()
        return text[..<end.upperBound] + headers + text[end.upperBound...]
    }

    static func bearer(_ secret: String) -> String { request(["Bearer \(secret)"]) }
    static let stranger = "mcpgw_0123abcd_" + String(repeating: "A", count: 43)
}
