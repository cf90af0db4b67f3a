// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// Streamable HTTP towards one upstream: a pool of kept-alive connections on each event loop, so that a call's client
/// connection and its upstream connection live on the same thread.
final class HTTPTransport: Transport {
    let kind = "http"
    let address: UpstreamAddress
    let headers: [(name: String, value: String)]
    let heads: RequestHeads
    private let pools: [ObjectIdentifier: HTTPConnectionPool]
    private let time: any TimeSource
    private let speed = Mutex(Pace())
    var pace: Pace { speed.withLock { $0 } }

    init(
        url: String, headers: [(name: String, value: String)], answerBytesMax: Int, loops: [any EventLoop],
        time: any TimeSource
    ) throws(UpstreamSettingsError) {
        let address = try UpstreamAddress(url)
        self.address = address
        self.time = time
        self.headers = headers
        heads = RequestHeads(address: address, headers: headers)
        let tls = address.isSecure ? ClientTLS() : nil
        pools = Dictionary(
            uniqueKeysWithValues: loops.map { loop in
                let pool = HTTPConnectionPool(
                    address: address, tls: tls, limits: WireLimits(bytesMax: answerBytesMax), loop: loop, time: time
                )
                return (ObjectIdentifier(loop), pool)
            })
    }

    private func pool(_ loop: any EventLoop) -> HTTPConnectionPool {
        guard let pool = pools[ObjectIdentifier(loop)] else {
            preconditionFailure("a call runs on a loop that is not one of the gateway's")
        }
        return pool
    }

    func exchange(
        _ request: WireRequest, on loop: any EventLoop, deadline: Deadline, hearing: Hearing?
    ) async throws(CallFailure) -> WireAnswer {
        let pool = pool(loop)
        try admit()
        let connection = try await pool.take(deadline: deadline)
        let sent = time.now()
        // Connecting takes time too: what is not wanted any more is not sent.
        if Task.isCancelled || deadline.hasPassed(at: sent) {
            pool.giveBack(connection)
            throw Task.isCancelled ? .cancelled : .timedOut(after: .zero, sent: false)
        }
        do throws(CallFailure) {
            var place: String?
            var end = try await connection.exchange(
                heads.write(request), id: request.id, deadline: deadline, hearing: hearing)
            while case .brokenOff(let lastEvent, let retry) = end {
                place = lastEvent ?? place
                guard let place, case .legacy = request.era else {
                    throw .outcomeUnknown(detail: "its event stream ended without an answer")
                }
                end = try await resume(request, place, retry, pool, loop, deadline, hearing)
            }
            guard case .answer(let answer) = end else { throw .cancelled }
            // A server that has no room for one more stream has some for calls.
            if request.method != "subscriptions/listen" { try heed(answer, sent: sent) }
            return answer
        } catch {
            // Leaving the stream tells a server of the stateless era; one of the other era has to be told in words.
            if let id = request.id, error == .cancelled || error.isTimeout, case .legacy = request.era {
                cancel(id, request, pool)
            }
            throw error
        }
    }

    /// Nothing is sent while the server wants to be left alone.
    private func admit() throws(CallFailure) {
        let pace = pace
        if pace.isOn, let refusal = pace.refusal(at: time.now()) { throw refusal }
    }

    /// Throws for an answer that is none: the server asks to slow down, for all conversations with it.
    private func heed(_ answer: WireAnswer, sent: Moment) throws(CallFailure) {
        guard let slowDown = answer.slowDown else {
            if pace.isOn { speed.withLock { $0.answered(sent: sent) } }
            return
        }
        let now = time.now()
        let refusal = speed.withLock { pace in
            pace.slowDown(for: slowDown.named, sent: sent, at: now)
            return pace.refusal(at: now)
        }
        if let refusal { throw refusal }
    }

    private static let retryUsual = Duration.seconds(1)
    /// Neither a server that polls without rest nor one that never comes back is followed.
    private static let retries = Duration.milliseconds(100)...(.seconds(30))

    /// The stream of a call broke; its server keeps the answer for whoever names the last event (before 2026-07-28).
    private func resume(
        _ request: WireRequest, _ lastEvent: String, _ retry: Duration?, _ pool: HTTPConnectionPool,
        _ loop: any EventLoop, _ deadline: Deadline, _ hearing: Hearing?
    ) async throws(CallFailure) -> HTTPUpstreamConnection.End {
        let wait = min(max(retry ?? Self.retryUsual, Self.retries.lowerBound), Self.retries.upperBound)
        hearing?.paused(wait)
        let now = time.now()
        let deadline = Deadline(deadline.moment + (hearing?.extraTime(now) ?? .zero))
        await Pause.wait(min(wait, deadline.remaining(at: now)), on: loop)
        if Task.isCancelled { throw .cancelled }
        if deadline.hasPassed(at: time.now()) { throw .timedOut(after: wait, sent: true) }
        let connection: HTTPUpstreamConnection
        do throws(CallFailure) {
            connection = try await pool.take(deadline: deadline)
        } catch {
            throw error == .cancelled ? error : .outcomeUnknown(detail: "its stream broke, and it cannot be reached")
        }
        let end = try await connection.exchange(
            heads.stream(request.era, lastEvent: lastEvent), id: request.id, deadline: deadline, hearing: hearing)
        // The answer can only come on the stream. Whatever else a GET is told says nothing of the call.
        if case .answer(let answer) = end, answer.message == nil || answer.status != 200 {
            throw .outcomeUnknown(detail: "its event stream ended without an answer")
        }
        return end
    }

    private func cancel(_ id: UInt64, _ request: WireRequest, _ pool: HTTPConnectionPool) {
        let body = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
        let notice = WireRequest(
            id: nil, method: "notifications/cancelled", body: ByteBuffer(string: body), era: request.era)
        pool.sendAside(heads.write(notice))
    }

    func notify(_ request: WireRequest, on loop: any EventLoop, deadline: Deadline) async {
        do throws(CallFailure) {
            let connection = try await pool(loop).take(deadline: deadline)
            _ = try await connection.exchange(heads.write(request), id: nil, deadline: deadline)
        } catch {
            // By its nature nobody learns whether a notification arrived; the next request will show what is wrong.
        }
    }

    /// Posts what is answered elsewhere; returns the HTTP status.
    func post(_ bytes: ByteBuffer, on loop: any EventLoop, deadline: Deadline) async throws(CallFailure) -> Int {
        try admit()
        let connection = try await pool(loop).take(deadline: deadline)
        let sent = time.now()
        let hearing = Hearing(message: { _ in })
        guard
            case .answer(let answer) = try await connection.exchange(
                bytes, id: nil, deadline: deadline, hearing: hearing)
        else { return 200 }
        try heed(answer, sent: sent)
        return answer.status
    }

    func listen(
        _ era: Era, from lastEvent: String?, on loop: any EventLoop, hearing: Hearing
    ) async -> StreamEnd { await hold(heads.stream(era, lastEvent: lastEvent), on: loop, hearing: hearing) }

    /// Holds a stream that answers no request.
    ///
    /// - Parameter isAll: it carries the whole conversation. Where it does not, a server that has no room for it has
    ///   some for calls.
    func hold(_ bytes: ByteBuffer, on loop: any EventLoop, hearing: Hearing, isAll: Bool = false) async -> StreamEnd {
        let never = Deadline(Moment(nanoseconds: .max))
        do throws(CallFailure) {
            try admit()
            let connection = try await pool(loop).take(deadline: never)
            let sent = time.now()
            switch try await connection.exchange(bytes, id: nil, deadline: never, hearing: hearing) {
            case .answer(let answer):
                if isAll { try heed(answer, sent: sent) }
                return .notOffered(answer.status, retry: answer.slowDown?.named)
            case .brokenOff(let lastEvent, let retry): return .closed(lastEvent: lastEvent, retry: retry)
            }
        } catch {
            return .unreachable(error.probeWords)
        }
    }

    func open(
        hears: @escaping @Sendable (Incoming) -> Void, lost: @escaping @Sendable (String) -> Void
    ) async throws(TransportError) {}

    func end(_ era: Era, on loop: any EventLoop) async {
        guard case .legacy(_, session: .some) = era else { return }
        pool(loop).sendAside(heads.end(era))
    }

    func close() async {
        for pool in pools.values { await pool.close() }
    }
}

extension CallFailure {
    var isTimeout: Bool {
        if case .timedOut = self { return true }
        return false
    }
}
