// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import MCPWire
internal import NIOCore

/// The transport of revision 2024-11-05: one event stream from the server, on which everything comes, and an address
/// that its first event names, to which everything is posted.
final class EventSourceTransport: Transport, @unchecked Sendable {
    // Everything mutable is confined to `loop`; needs no lock.
    let kind = "sse"
    private let http: HTTPTransport
    private let loop: any EventLoop
    private let time: any TimeSource
    private let answers: PendingAnswers
    private var stream: Task<Void, Never>?
    /// Where messages go, once the server has said so.
    private var heads: RequestHeads?
    private var endText: String?
    private var endKind = TransportError.Kind.unreachable
    private var life = 0

    private static let patience = Duration.seconds(10)

    init(http: HTTPTransport, loop: any EventLoop, time: any TimeSource) {
        self.http = http
        self.loop = loop
        self.time = time
        answers = PendingAnswers(loop: loop, time: time)
    }

    private func onLoop<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
        if loop.inEventLoop { return body() }
        return await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: body()) }
        }
    }

    func open(
        hears: @escaping @Sendable (Incoming) -> Void, lost: @escaping @Sendable (String) -> Void
    ) async throws(TransportError) {
        await close()
        let ready = Latch()
        let (http, loop) = (http, loop)
        await onLoop {
            self.life += 1
            let life = self.life
            self.endText = nil
            let hearing = Hearing(
                message: { incoming in self.take(incoming, life, hears) },
                endpoint: { address in
                    self.found(address, life)
                    ready.open()
                })
            // Ends with the stream, or when `close` cancels it.
            self.stream = Task(executorPreference: LoopExecutor(loop)) {
                let end = await http.hold(
                    http.heads.stream(nil, lastEvent: nil), on: loop, hearing: hearing, isAll: true)
                let wasOpen = self.ended(end, life)
                ready.open()
                // One that never came is told by `open`; ringing for it as well would end every pause.
                if wasOpen, !Task.isCancelled { lost("its event stream has ended") }
            }
        }
        await ready.wait(atMost: Self.patience, on: loop)
        let found = await onLoop { () -> TransportError? in
            guard self.heads == nil else { return nil }
            guard let words = self.endText else {
                let patience = Pace.seconds(Self.patience)
                return TransportError(
                    words: "timeout: its event stream named no address within \(patience) s", kind: .silence)
            }
            return TransportError(words: words, kind: self.endKind)
        }
        guard var problem = found else { return }
        if pace.rest(at: time.now()) != nil { problem.kind = .slowDown }
        throw problem
    }

    var pace: Pace { http.pace }

    private func found(_ address: String, _ life: Int) {
        guard life == self.life else { return }
        // Another server is none of ours, whatever the stream says.
        heads = http.address.resolving(address).map { RequestHeads(address: $0, headers: http.headers) }
        if heads == nil { (endText, endKind) = ("its event stream names an address elsewhere", .broken) }
    }

    private func take(_ incoming: Incoming, _ life: Int, _ hears: @Sendable (Incoming) -> Void) {
        guard life == self.life else { return }
        switch incoming.message.kind {
        case .result, .error: answers.take(incoming.bytes, incoming.message)
        case .request, .notification: hears(incoming)
        }
    }

    /// True when it had been there.
    private func ended(_ end: StreamEnd, _ life: Int) -> Bool {
        guard life == self.life else { return false }
        let wasOpen = heads != nil
        switch end {
        case .closed: (endText, endKind) = ("its event stream has ended", .unreachable)
        case .notOffered(let status, _):
            (endText, endKind) = ("it offers no event stream (HTTP status \(status))", .broken)
        case .unreachable(let words): (endText, endKind) = (words, .unreachable)
        }
        heads = nil
        answers.failAll(.outcomeUnknown(detail: endText ?? "its event stream has ended"))
        return wasOpen
    }

    func close() async {
        let stream = await onLoop {
            defer { self.stream = nil }
            self.heads = nil
            self.life += 1
            return self.stream
        }
        stream?.cancel()
        await onLoop { self.answers.failAll(.outcomeUnknown(detail: "the connection was closed")) }
    }

    // MARK: Requests

    func exchange(
        _ request: WireRequest, on caller: any EventLoop, deadline: Deadline, hearing: Hearing?
    ) async throws(CallFailure) -> WireAnswer {
        guard let id = request.id else { throw .garbage(detail: "a request needs a number") }
        return try await answers.exchange(id, deadline: deadline, hearing: hearing) { () throws(CallFailure) in
            guard let heads = self.heads else {
                throw .unavailable(detail: self.endText ?? "its event stream is not open")
            }
            self.post(heads.write(request), deadline) { result in self.answers.settle(id, result) }
        } giveUp: { _ in
            guard request.era != nil, let heads = self.heads else { return }
            let text = #"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":\#(id)}}"#
            let notice = WireRequest(
                id: nil, method: "notifications/cancelled", body: ByteBuffer(string: text), era: request.era)
            self.post(heads.write(notice), Deadline(self.time.now() + Self.patience)) { _ in }
        }
    }

    /// The answer comes on the stream; here only what keeps it from coming is of interest: a failure, or a status that
    /// is the whole answer.
    private func post(
        _ bytes: ByteBuffer, _ deadline: Deadline,
        ended: @escaping @Sendable (Result<WireAnswer, CallFailure>) -> Void
    ) {
        let (http, loop) = (http, loop)
        // Ends with the server's word that it has the message, at the deadline at the latest.
        Task(executorPreference: LoopExecutor(loop)) {
            do throws(CallFailure) {
                let status = try await http.post(bytes, on: loop, deadline: deadline)
                guard !(200..<300).contains(status) else { return }
                ended(.success(WireAnswer(status: status, bytes: ByteBuffer(), message: nil)))
            } catch {
                ended(.failure(error))
            }
        }
    }

    func notify(_ request: WireRequest, on caller: any EventLoop, deadline: Deadline) async {
        await onLoop {
            guard let heads = self.heads else { return }
            self.post(heads.write(request), deadline) { _ in }
        }
    }
}
