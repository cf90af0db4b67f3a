// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HostLoad
internal import MCPWire
internal import NIOCore
internal import Synchronization

/// Decides whether a request may begin: not while the gateway drains or runs out of memory, not too often, not too many
/// at a time. Gives each call its deadline.
final class Admission: Sendable {
    enum Refusal: Error {
        case limited(RateGate.Refusal)
        /// No room; in words, and the seconds after which it is worth trying again.
        case busy(words: String, retryAfter: Int)
        case left
    }

    private let settings: LiveSettings
    private let turnstile: Turnstile
    private let rates = RateGate()
    private let polls = Atomic(0)
    private let draining = Atomic(false)
    private let pressure: @Sendable () -> Pressure
    private let time: any TimeSource

    static let drainingWords =
        "This gateway is being drained and takes no new calls. Try again, or another gateway, in 5 s."

    init(settings: LiveSettings, pressure: @escaping @Sendable () -> Pressure, time: any TimeSource) {
        self.settings = settings
        self.pressure = pressure
        self.time = time
        turnstile = Turnstile(settings.now.turnstile)
    }

    /// The right to be in flight; ends when it goes out of scope.
    struct Permit: ~Copyable {
        fileprivate let admission: Admission
        fileprivate let counts: Bool
        fileprivate let began: Moment
        let deadline: Deadline

        deinit {
            if counts { admission.turnstile.leave(after: admission.time.now().since(began)) }
        }
    }

    // MARK: What is in force

    /// Takes up new settings. Who is in stays in.
    func change() { turnstile.change(to: settings.now.turnstile) }

    /// Limits instead of the file's; the file says what holds for single callers in any case.
    func limit(all: RateLimit?) {
        rates.change(
            to: RateGate.Settings(all: all, perCaller: settings.now.ratePerCaller), at: time.now())
    }

    var limit: RateLimit? { rates.settings.all }
    var isDraining: Bool { draining.load(ordering: .relaxed) }
    func setDraining(_ isDraining: Bool) { draining.store(isDraining, ordering: .relaxed) }

    /// Whether calls that can wait are to be stored instead of being carried out.
    var isShortOfMemory: Bool { pressure() >= .severe }

    var running: Int { turnstile.running }
    var waiting: Int { turnstile.waiting }

    // MARK: Requests

    /// Whether a request of this caller may begin now.
    func checkRate(_ inbound: InboundMessage) throws(Refusal) {
        do throws(RateGate.Refusal) {
            try rates.take(caller: inbound.limitKey, at: time.now())
        } catch {
            throw .limited(error)
        }
    }

    /// Lets a call in, perhaps after a wait.
    ///
    /// - Parameter isFurtherRound: it goes on with one that was let in before.
    func admit(_ inbound: InboundMessage, isFurtherRound: () -> Bool) async throws(Refusal) -> Permit {
        let settings = settings.now
        let deadline = Deadline(inbound.arrivedAt + settings.timeout)
        if inbound.isPoll {
            return Permit(admission: self, counts: false, began: inbound.arrivedAt, deadline: deadline)
        }
        if isDraining, !isFurtherRound() {
            throw .busy(words: Self.drainingWords, retryAfter: 5)
        }
        if pressure() >= .critical {
            throw .busy(
                words: "This gateway is short of memory and takes no new calls. Try again in 5 s.", retryAfter: 5)
        }
        try checkRate(inbound)
        do throws(Turnstile.Refusal) {
            try await turnstile.enter(by: deadline, at: time.now(), on: inbound.loop)
        } catch {
            switch error {
            case .left: throw .left
            case .full, .late:
                throw .busy(
                    words: "This gateway already runs \(settings.inFlightMax) calls at once (limits.max_in_flight), "
                        + "and more than it can do in time wait. Try again in 1 s.",
                    retryAfter: 1)
            }
        }
        return Permit(admission: self, counts: true, began: time.now(), deadline: deadline)
    }
}

extension InboundMessage {
    /// A client that asks how its stored call or task is does so again and again, and takes next to nothing.
    fileprivate var isPoll: Bool {
        if message.method.isTaskPoll { return true }
        let bytes = bytes.readableBytesUInt8Span
        guard message.method == .toolsCall, let name = message.member("name", in: bytes),
            name.value.count == QueueDesk.statusTool.utf8.count + 2
        else { return false }
        return QueueDesk.isTool(JSONText.string(bytes, value: name.value))
    }

    /// Whose limit a request counts against: the caller's, or, while everybody is the anonymous one, the address's.
    fileprivate var limitKey: String { caller == .anonymous ? "address \(address)" : "caller \(caller.name)" }
}
