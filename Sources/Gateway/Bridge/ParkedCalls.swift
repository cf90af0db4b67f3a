// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import NIOCore
internal import Synchronization

/// The calls that wait here for their clients to come back with answers. Bounded in number and in time.
final class ParkedCalls: Sendable {
    /// Names one parked call, in the seal that its client carries.
    struct Ticket: Sendable, Hashable {
        let bytes: [UInt8]

        static func random() -> Ticket {
            var random = SystemRandomNumberGenerator()
            return Ticket(bytes: (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) })
        }
    }

    /// A parked call with the conversation its owner talks into.
    final class Entry: Sendable {
        let call: ParkedCall
        private let held = Mutex<(conversation: CallConversation?, followers: Int)>((nil, 0))

        init(_ call: ParkedCall) { self.call = call }

        var conversation: CallConversation? { held.withLock { $0.conversation } }
        func attach(_ conversation: CallConversation) { held.withLock { $0.conversation = conversation } }

        /// A request of the client waits for the call's next word.
        func join() { held.withLock { $0.followers += 1 } }
        /// It waits no more. True when it was the last.
        func leave() -> Bool {
            held.withLock { held in
                held.followers -= 1
                return held.followers == 0
            }
        }
    }

    private let entries = Mutex<[Ticket: Entry]>([:])
    private static let entriesMax = 1_024
    /// A client that asks twice for the same end shall find it.
    private static let kept = TimeAmount.seconds(30)
    /// How long a client may take to come back with answers.
    private static let patience = TimeAmount.seconds(600)

    /// Calls that have not ended; what is kept for a repeated answer does not count.
    var count: Int { entries.withLock { Array($0.values) }.count { !$0.call.isOver } }

    /// nil when too many wait already.
    func open(caller: Caller, loop: any EventLoop) -> Entry? {
        let entry = Entry(ParkedCall(ticket: .random(), caller: caller, loop: loop))
        let isFull = entries.withLock { entries in
            guard entries.count < Self.entriesMax else { return true }
            entries[entry.call.ticket] = entry
            return false
        }
        return isFull ? nil : entry
    }

    func find(_ ticket: Ticket, caller: Caller) -> Entry? {
        entries.withLock { $0[ticket] }.flatMap { $0.call.caller == caller ? $0 : nil }
    }

    /// The client has been asked and is gone for now. When it does not come back in time, the call is given up.
    func expectReturn(_ entry: Entry, round: UInt32, on loop: any EventLoop) {
        // Weakly: a finished one is not to be kept for that.
        loop.scheduleTask(in: Self.patience) { [weak entry] in
            guard let entry else { return }
            if entry.call.isOver {
                self.forget(entry)
            } else if entry.call.isWaiting(since: round) {
                self.abandon(entry)
            }
        }
    }

    /// The client has had its last word; it may still ask for it again.
    func forgetSoon(_ entry: Entry, on loop: any EventLoop) {
        loop.scheduleTask(in: Self.kept) { self.forget(entry) }
    }

    func forget(_ entry: Entry) { _ = entries.withLock { $0.removeValue(forKey: entry.call.ticket) } }

    func abandon(_ entry: Entry) {
        forget(entry)
        entry.call.abandon()
    }

    /// The gateway is stopping: nobody can come back with answers any more. Calls that ask nothing may end.
    func abandonAll() {
        for entry in entries.withLock({ Array($0.values) }) where entry.call.isAsking { abandon(entry) }
    }
}
