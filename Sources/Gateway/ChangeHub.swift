// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// Who wants to hear of changes, and tells them. One copy for each listener, each with that listener's own mark.
final class ChangeHub: Sendable {
    /// What one listener wants to hear of. Resources by the URIs that clients know.
    struct Interest: Sendable, Equatable {
        var kinds: Set<ListKind> = []
        var uris: Set<String> = []
    }

    /// A session, or one open `subscriptions/listen`.
    enum Listener: Sendable {
        case session(any ClientSession)
        /// The id of the listen request as it was written marks everything that goes out.
        case stream(any ClientStream, id: [UInt8])

        func send(_ method: StaticString, members: String) {
            var out = ByteBuffer(string: #"{"jsonrpc":"2.0","method":""#)
            out.writeStaticString(method)
            switch self {
            case .session(let session):
                out.writeString(members.isEmpty ? "\"}" : "\",\"params\":{\(members)}}")
                session.deliver(out)
            case .stream(let stream, let id):
                out.writeStaticString(#"","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"#)
                out.writeBytes(id)
                out.writeString(members.isEmpty ? "}}}" : "},\(members)}}")
                stream.send(out, isVital: true)
            }
        }
    }

    private struct Entry {
        let listener: Listener
        var interest: Interest
        /// Not acknowledged yet: counts, and hears nothing.
        var isQuiet = false
    }

    private struct State {
        var entries: [Int: Entry] = [:]
        var sessions: [SessionKey: Int] = [:]
        var number = 0
        var isClosed = false
        var closers: [Int: @Sendable () -> Void] = [:]
        /// How many want to hear of each resource.
        var wanted: [String: Int] = [:]
        /// Resources that somebody began or ceased to want since that was looked at.
        var changed: Set<String> = []

        mutating func count(_ uris: some Sequence<String>, _ change: Int) {
            for uri in uris {
                let count = wanted[uri, default: 0] + change
                wanted[uri] = count == 0 ? nil : count
                if count == 0 || count == change { changed.insert(uri) }
            }
        }

        mutating func remove(_ number: Int) {
            guard let entry = entries.removeValue(forKey: number) else { return }
            count(entry.interest.uris, -1)
        }
    }

    private let state = Mutex(State())
    /// Listens and sessions together.
    private static let entriesMax = 8_192
    static let urisMax = 1_000

    // MARK: Sessions

    func add(_ session: any ClientSession) {
        state.withLock { state in
            guard state.sessions[session.key] == nil, state.entries.count < Self.entriesMax else { return }
            state.number += 1
            state.sessions[session.key] = state.number
            state.entries[state.number] = Entry(
                listener: .session(session), interest: Interest(kinds: [.tools, .prompts, .resources]))
        }
    }

    func remove(_ session: SessionKey) {
        state.withLock { state in
            if let number = state.sessions.removeValue(forKey: session) { state.remove(number) }
        }
    }

    /// False when the session is unknown or wants too many.
    func change(_ session: SessionKey, _ change: (inout Set<String>) -> Void) -> Bool {
        state.withLock { state in
            guard let number = state.sessions[session], var entry = state.entries[number] else { return false }
            let before = entry.interest.uris
            change(&entry.interest.uris)
            guard entry.interest.uris.count <= Self.urisMax else { return false }
            state.entries[number] = entry
            state.count(entry.interest.uris.subtracting(before), +1)
            state.count(before.subtracting(entry.interest.uris), -1)
            return true
        }
    }

    // MARK: Listens

    /// nil when there are too many listeners, or the gateway is stopping.
    ///
    /// - Parameter close: called when the gateway wants the listen to end.
    func add(_ listener: Listener, _ interest: Interest, close: @escaping @Sendable () -> Void) -> Int? {
        state.withLock { state in
            guard !state.isClosed, state.entries.count < Self.entriesMax else { return nil }
            state.number += 1
            state.entries[state.number] = Entry(listener: listener, interest: interest, isQuiet: true)
            state.closers[state.number] = close
            state.count(interest.uris, +1)
            return state.number
        }
    }

    /// The listen is acknowledged: it hears from here on.
    func open(_ number: Int) { state.withLock { $0.entries[number]?.isQuiet = false } }

    func remove(_ number: Int) {
        state.withLock { state in
            state.remove(number)
            state.closers[number] = nil
        }
    }

    /// Ends every listen; no new one begins.
    func close() {
        let closers = state.withLock { state in
            state.isClosed = true
            return Array(state.closers.values)
        }
        for close in closers { close() }
    }

    // MARK: What is wanted, and telling it

    /// The resources that somebody began or ceased to want to hear of since this was asked last, and which it is.
    func takeChanges() -> [(uri: String, isWanted: Bool)] {
        state.withLock { state in
            defer { state.changed = [] }
            return state.changed.map { ($0, state.wanted[$0] != nil) }
        }
    }

    /// Every resource somebody wants to hear of.
    var watched: Set<String> { state.withLock { Set($0.wanted.keys) } }

    var hasChanges: Bool { state.withLock { !$0.changed.isEmpty } }

    var listenerCount: Int { state.withLock { $0.entries.count } }

    func tell(_ kinds: Set<ListKind>) {
        // Templates change by the same notification as the resources they stand for.
        let kinds = Set(kinds.map { $0 == .templates ? .resources : $0 })
        for kind in kinds {
            let method: StaticString
            switch kind {
            case .tools: method = "notifications/tools/list_changed"
            case .prompts: method = "notifications/prompts/list_changed"
            case .resources, .templates: method = "notifications/resources/list_changed"
            }
            let listeners = state.withLock { state in
                state.entries.values.filter { !$0.isQuiet && $0.interest.kinds.contains(kind) }.map(\.listener)
            }
            for listener in listeners { listener.send(method, members: "") }
        }
    }

    /// A resource, or something inside of it, has changed.
    func tell(updated uri: String) {
        let listeners = state.withLock { state in
            state.entries.values
                .filter { entry in !entry.isQuiet && entry.interest.uris.contains { Self.covers($0, uri) } }
                .map(\.listener)
        }
        for listener in listeners {
            listener.send("notifications/resources/updated", members: "\"uri\":\(JSONText.quoted(uri))")
        }
    }

    private static func covers(_ wanted: String, _ uri: String) -> Bool {
        if wanted.utf8.elementsEqual(uri.utf8) { return true }
        return uri.utf8.starts(with: wanted.utf8)
            && (wanted.hasSuffix("/") || uri.utf8.dropFirst(wanted.utf8.count).first == UInt8(ascii: "/"))
    }
}
