// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Telemetry

/// Sends a call to its owner: once there is room, if the breakers let it, and once more where that does no harm. Calls
/// of clients and stored calls both pass here.
struct Dispatcher: Sendable {
    let time: any TimeSource
    let tracer: Tracer

    func send(_ call: RoutedCall, to destination: Destination) async -> Result<CallAnswer, CallFailure> {
        destination.counters?.begin()
        guard let traffic = destination.owner.traffic else { return await pass(call, destination) }
        traffic.noteCall(at: time.now())
        var attempts = 0
        var result: Result<CallAnswer, CallFailure> = .failure(.cancelled)
        while true {
            let former = attempts > 0 ? result : nil
            result = Self.told(await hedged(call, destination, traffic), after: former)
            attempts += 1
            guard isWorthRepeating(result, call, destination),
                let pause = traffic.pause(after: attempts, at: time.now()),
                call.deadline.remaining(at: time.now()) > pause
            else { return result }
            await Pause.wait(pause, on: call.loop)
            // The client left meanwhile: nobody wants it any more.
            if Task.isCancelled { return .failure(.cancelled) }
        }
    }

    /// A try that was not sent does not hide that one before it may have been carried out.
    private static func told(
        _ result: Result<CallAnswer, CallFailure>, after former: Result<CallAnswer, CallFailure>?
    ) -> Result<CallAnswer, CallFailure> {
        guard case .failure(let last) = result, case .failure(let first)? = former, last.provesNothingWasSent,
            !first.provesNothingWasSent
        else { return result }
        return .failure(first)
    }

    /// Whether a further try can end otherwise and does no harm.
    private func isWorthRepeating(
        _ result: Result<CallAnswer, CallFailure>, _ call: RoutedCall, _ destination: Destination
    ) -> Bool {
        guard case .failure(let failure) = result, !Task.isCancelled else { return false }
        switch failure {
        case .unavailable, .timedOut(_, sent: false):
            // Who refuses is no server that had bad luck; and what can wait waits on disk.
            return destination.policy.offline != .queue && !isHeldBack(destination)
        case .timedOut(_, sent: true), .outcomeUnknown, .garbage:
            return destination.policy.isRepeatable && !hasAsked(call) && !isHeldBack(destination)
        case .overloaded, .stopped, .unknownTool, .badArguments, .needsInput, .cancelled: return false
        }
    }

    private func isHeldBack(_ destination: Destination) -> Bool {
        destination.owner.traffic?.breaker?.refusesUntil != nil || destination.gate?.breaker?.refusesUntil != nil
    }

    /// A person has answered questions of it, and is not to be asked again.
    private func hasAsked(_ call: RoutedCall) -> Bool {
        (call.conversation?.timeAsking(at: time.now()) ?? .zero) > .zero
    }

    // MARK: Two at once

    /// When the first has no answer in time, a second goes out beside it, and the better one counts.
    private func hedged(
        _ call: RoutedCall, _ destination: Destination, _ traffic: OwnerTraffic
    ) async -> Result<CallAnswer, CallFailure> {
        guard let delay = destination.policy.hedge, destination.policy.isRepeatable, !call.wishes.hearsMeanwhile else {
            return await pass(call, destination)
        }
        let began = time.now()
        return await withTaskGroup(of: Result<CallAnswer, CallFailure>?.self) { group in
            group.addTask { await self.pass(call, destination) }
            group.addTask {
                await Pause.wait(delay, on: call.loop)
                guard !Task.isCancelled, traffic.spendRetry(at: self.time.now()) else { return nil }
                return await self.pass(call, destination)
            }
            var former: Result<CallAnswer, CallFailure>?
            var last: Result<CallAnswer, CallFailure> = .failure(.cancelled)
            for await found in group {
                guard let found else { continue }
                last = Self.told(found, after: former)
                former = last
                if case .success = found { break }
                // A failure before the second has begun leaves nothing to hedge.
                if time.now().since(began) < delay { break }
            }
            group.cancelAll()
            return last
        }
    }

    // MARK: One

    /// Through the doors of owner and tool. Whoever waited before a door asks the breaker behind it, so that a line
    /// does not run against a server that has just failed.
    private func pass(_ call: RoutedCall, _ destination: Destination) async -> Result<CallAnswer, CallFailure> {
        let (own, tools) = (destination.owner.traffic?.turnstile, destination.gate?.turnstile)
        do throws(Turnstile.Refusal) {
            try await own?.enter(by: call.deadline, at: time.now(), on: call.loop)
        } catch {
            return .failure(Self.failure(error, of: "calls to \"\(destination.backend.name)\""))
        }
        do throws(Turnstile.Refusal) {
            try await tools?.enter(by: call.deadline, at: time.now(), on: call.loop)
        } catch {
            own?.leave(after: nil)
            return .failure(Self.failure(error, of: "calls of this tool"))
        }
        let began = time.now()
        let result = await asked(call, destination)
        let stay = time.now().since(began)
        own?.leave(after: stay)
        tools?.leave(after: stay)
        return result
    }

    private static func failure(_ refusal: Turnstile.Refusal, of calls: String) -> CallFailure {
        switch refusal {
        case .full(let running, let waiting):
            let line = waiting > 0 ? " and \(waiting) wait" : ""
            return .overloaded(
                detail: "\(running) \(calls) run\(line) already (max_in_flight)",
                retryAfter: 1)
        case .late:
            return .overloaded(
                detail: "the line of \(calls) is longer than this call can wait",
                retryAfter: 1)
        case .left: return .cancelled
        }
    }

    private func asked(_ call: RoutedCall, _ destination: Destination) async -> Result<CallAnswer, CallFailure> {
        let (own, tools) = (destination.owner.traffic?.breaker, destination.gate?.breaker)
        var (first, second): (OwnerBreaker.Ticket?, OwnerBreaker.Ticket?)
        switch own?.admit() {
        case .failure(let failure): return .failure(failure)
        case .success(let ticket): first = ticket
        case nil: break
        }
        switch tools?.admit() {
        case .failure(let failure):
            if let first { own?.returned(first) }
            return .failure(failure)
        case .success(let ticket): second = ticket
        case nil: break
        }
        let result = await plainly(call, destination)
        guard first != nil || second != nil else { return result }
        let hasAsked = hasAsked(call)
        if let first { own?.finished(first, result, hasAsked: hasAsked) }
        if let second { tools?.finished(second, result, hasAsked: hasAsked) }
        return result
    }

    private func plainly(_ call: RoutedCall, _ destination: Destination) async -> Result<CallAnswer, CallFailure> {
        let backend = destination.backend
        let kind: TraceSpan.Kind = backend.route == "wasm" ? .internal : .client
        guard let span = tracer.begin("\(backend.route) \(backend.name)", kind, within: call.trace) else {
            return await reached(call, destination)
        }
        var call = call
        call.trace = span.context
        span.note("mcp.method.name", call.operation.method)
        span.note("mcp_gateway.upstream", backend.name)
        if let tool = destination.shownTool { span.note("gen_ai.tool.name", tool) }
        let result = await reached(call, destination)
        switch result {
        case .success: break
        // Nobody wants its answer any more: the client left, or another try was quicker.
        case .failure(.cancelled): span.note("mcp_gateway.given_up", "true")
        case .failure(let failure): span.failed(failure.type, failure.words)
        }
        tracer.end(span)
        return result
    }

    private func reached(_ call: RoutedCall, _ destination: Destination) async -> Result<CallAnswer, CallFailure> {
        do throws(CallFailure) {
            return .success(try await destination.backend.call(call))
        } catch {
            return .failure(error)
        }
    }
}

extension Wishes {
    /// Two of the same call would say everything twice.
    fileprivate var hearsMeanwhile: Bool { progress || needsOwnSession }
}
