// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// Sends a call to its owner, if the owner's breaker lets it. Calls of clients and stored calls both pass here.
struct Dispatcher: Sendable {
    let time: any TimeSource

    func send(_ call: RoutedCall, to destination: Destination) async -> Result<CallAnswer, CallFailure> {
        guard let breaker = destination.owner.breaker else { return await plainly(call, destination) }
        switch breaker.admit() {
        case .failure(let failure): return .failure(failure)
        case .success(let ticket):
            let result = await plainly(call, destination)
            let asked = call.conversation?.timeAsking(at: time.now()) ?? .zero
            breaker.finished(ticket, result, hasAsked: asked > .zero)
            return result
        }
    }

    private func plainly(_ call: RoutedCall, _ destination: Destination) async -> Result<CallAnswer, CallFailure> {
        do throws(CallFailure) {
            return .success(try await destination.backend.call(call))
        } catch {
            return .failure(error)
        }
    }
}
