// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization
package import Telemetry

/// Writes refused requests to `security.log`: somebody may be trying to get in.
///
/// At most ten lines in ten seconds, so that a flood of such requests does not become a flood of lines; what was left
/// out is counted in the next line.
package struct RefusalLog: Sendable {
    private struct Window {
        var began: Moment
        var lines = 0
        var omitted = 0
    }

    private final class State: Sendable {
        let window: Mutex<Window>
        init(at now: Moment) { window = Mutex(Window(began: now)) }
    }

    private static let linesMax = 10
    private static let length = Duration.seconds(10)

    private let log: any SecurityLog
    private let time: any TimeSource
    private let state: State

    package init(log: any SecurityLog, time: any TimeSource) {
        self.log = log
        self.time = time
        state = State(at: time.now())
    }

    /// Names the header that was refused.
    func note(_ event: String, _ request: HTTPRequest, header: String) {
        note(event, request, facts: [(header, String((request.header(header) ?? "").prefix(200)))])
    }

    /// - Parameter facts: what is known besides the peer and the request's id.
    package func note(_ event: String, _ request: HTTPRequest, facts: [(String, String)]) {
        let now = time.now()
        let omitted: Int? = state.window.withLock { window in
            if now.since(window.began) >= Self.length {
                window = Window(began: now, omitted: window.omitted)
            }
            guard window.lines < Self.linesMax else {
                window.omitted += 1
                return nil
            }
            window.lines += 1
            defer { window.omitted = 0 }
            return window.omitted
        }
        guard let omitted else { return }
        var facts = [("peer", request.peer.text)] + facts
        facts.append(("request_id", request.id.description))
        if omitted > 0 { facts.append(("omitted_before", String(omitted))) }
        log.security(event, facts: facts)
    }
}

extension HTTPPeer {
    package var text: String {
        switch self {
        case .network(let peer): peer.address
        case .local(let uid, let pid): "uid \(uid) pid \(pid)"
        }
    }
}
