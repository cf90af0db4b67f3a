// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
package import MCPWire
import NIOCore
package import Sealing
import Synchronization
package import Telemetry

/// Keeps what is written down, for tests to look at.
package final class RecordingJournal: Journal {
    private let rows = Mutex<(calls: [CallRecord], errors: [ErrorRecord])>(([], []))
    private let onRecord: (@Sendable () -> Void)?

    /// - Parameter onRecord: called on the thread that writes.
    package init(onRecord: (@Sendable () -> Void)? = nil) { self.onRecord = onRecord }

    package func record(_ call: CallRecord) {
        onRecord?()
        rows.withLock { $0.calls.append(call) }
    }

    package func record(_ error: ErrorRecord) { rows.withLock { $0.errors.append(error) } }

    package var calls: [CallRecord] { rows.withLock { $0.calls } }
    package var errors: [ErrorRecord] { rows.withLock { $0.errors } }
}

/// Ended sessions, in memory.
package final class MemoryTombstones: Tombstones {
    private let ended = Mutex<[SessionKey: Int64]>([:])

    package init() {}

    package func contains(_ session: SessionKey) -> Bool { ended.withLock { $0[session] != nil } }
    package func add(_ session: SessionKey, expires: Int64) { ended.withLock { $0[session] = expires } }
    package var all: [SessionKey: Int64] { ended.withLock { $0 } }
}

/// A tool owner whose answers a test writes.
package final class ScriptedBackend: Backend {
    package typealias Answer = @Sendable (RoutedCall) async throws(CallFailure) -> CallAnswer

    package let name: String
    package let route: String
    private let offered: Mutex<Offers>
    private let answer: Answer

    package init(
        name: String, route: String = "upstream", tools: [OfferedItem], answer: @escaping Answer
    ) {
        self.name = name
        self.route = route
        offered = Mutex(Offers(tools: tools))
        self.answer = answer
    }

    package func offers() -> Offers { offered.withLock { $0 } }
    package func list(_ tools: [OfferedItem]) { offered.withLock { $0.tools = tools } }
    package func offer(_ offers: Offers) { offered.withLock { $0 = offers } }
    package func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer { try await answer(call) }
}

extension OfferedItem {
    /// A tool that takes any object, with `more` members behind its schema, each with its comma in front.
    package static func plain(_ name: String, more: String = "") -> OfferedItem {
        let json = #"{"name":\#(JSONText.quoted(name)),"description":"A tool","inputSchema":{"type":"object"}\#(more)}"#
        return OfferedItem(name: name, definition: Array(json.utf8))
    }
}

extension Payload {
    /// The object that `json` is. Throws what the scanner says about it.
    package static func of(_ json: String) throws(WireError) -> Payload {
        let bytes = Array(json.utf8)
        let (range, members, meta) = try MessageParser.object(bytes.span, limits: WireLimits())
        return Payload(bytes: ByteBuffer(bytes: bytes), range: range, members: members, meta: meta)
    }
}

extension LogFiles {
    /// Writes nowhere.
    package static func silent(_ time: any TimeSource) throws(LogFilesError) -> LogFiles {
        try LogFiles(LogSettings(directory: nil), time: time)
    }
}

extension SealKeys {
    /// Keys that need not be secret.
    package static var forTests: SealKeys { SealKeys(current: Key(id: 1, secret: (0..<32).map { UInt8($0) })) }
}
