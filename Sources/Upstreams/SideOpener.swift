// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Logging
internal import NIOCore

/// Opens and closes side sessions: a process of its own for a stdio server, a session of its own over HTTP.
struct SideOpener: Sendable {
    let name: String
    let transports: TransportFactory
    let writer: CallWriter
    let cadence: Cadence
    let numbers: NumberSource
    let secrets: KnownSecrets
    let loop: any EventLoop
    let time: any TimeSource
    let log: Logger

    /// Runs on the loop on which everything of the session lives.
    func open(_ key: SideSession.Key) async -> Result<SideSession, CallFailure> {
        let link = ServerLink(
            name: name, transport: transports.make(), isExclusive: true, numbers: numbers, loop: loop, time: time,
            log: log, notice: { _ in })
        do throws(TransportError) {
            try await link.open()
            let handshake = Handshake(
                link: link, writer: writer, loop: loop, time: time, patience: cadence.patience,
                silence: cadence.silence, numbers: numbers, secrets: secrets)
            let facts = try await handshake.initialize(capabilities: key.capabilities)
            return .success(SideSession(key: key, link: link, era: facts.era, stream: stream(of: link, facts.era)))
        } catch {
            if link.transport.isDuplex { await link.transport.close() }
            return .failure(
                error.isSlowDown ? .overloaded(detail: error.words, retryAfter: 1) : .unavailable(detail: error.words))
        }
    }

    /// Some servers ask on the session's own stream, without naming the call they ask for. A server that offers none is
    /// not asked for it again.
    private func stream(of link: ServerLink, _ era: Era) -> Task<Void, Never>? {
        guard !link.transport.isDuplex, era.revision > .v2024_11_05 else { return nil }
        let loop = loop
        // Ends with the session, which cancels it.
        return Task(executorPreference: LoopExecutor(loop)) {
            var lastEvent: String?
            while !Task.isCancelled {
                let end = await link.transport.listen(era, from: lastEvent, on: loop, hearing: link.plainHearing)
                guard case .closed(let event, let retry) = end else { return }
                lastEvent = event ?? lastEvent
                await Pause.wait(max(retry ?? .seconds(1), .milliseconds(250)), on: loop)
            }
        }
    }

    func close(_ session: SideSession) async {
        if session.link.transport.isDuplex {
            await session.link.transport.close()
        } else {
            await session.link.transport.end(session.era, on: loop)
        }
    }
}
