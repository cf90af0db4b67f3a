// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore

/// Sends a call to the owner of its tool.
struct Dispatcher: Sendable {
    func send(_ call: RoutedCall, to destination: Destination) async -> Result<CallAnswer, CallFailure> {
        do throws(CallFailure) {
            return .success(try await destination.backend.call(call))
        } catch {
            return .failure(error)
        }
    }
}
