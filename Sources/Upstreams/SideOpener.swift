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
    let loop: any EventLoop
    let time: any TimeSource
    let log: Logger

    func open(_ key: SideSession.Key) async throws(CallFailure) -> SideSession {
        // Runs on the caller's loop; everything of the session lives on ours, so it is opened there.
        let task = Task(executorPreference: LoopExecutor(loop)) { () -> Result<SideSession, CallFailure> in
            await make(key)
        }
        return try await task.value.get()
    }

    private func make(_ key: SideSession.Key) async -> Result<SideSession, CallFailure> {
        let link = ServerLink(
            name: name, transport: transports.make(), isExclusive: true, numbers: numbers, loop: loop, time: time,
            log: log, notice: { _ in })
        do throws(TransportError) {
            try await link.open()
            if key.isModern {
                link.speaks(.modern)
                return .success(SideSession(key: key, link: link, era: .modern))
            }
            let handshake = Handshake(
                link: link, writer: writer, loop: loop, time: time, patience: cadence.patience,
                silence: cadence.silence, numbers: numbers)
            let facts = try await handshake.initialize(capabilities: key.capabilities)
            return .success(SideSession(key: key, link: link, era: facts.era))
        } catch {
            if link.transport.isDuplex { await link.transport.close() }
            return .failure(.unavailable(detail: error.words))
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
