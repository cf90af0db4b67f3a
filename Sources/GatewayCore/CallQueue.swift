// Licensed under the Apache License 2.0; see LICENSE.

/// A call that is to be kept until its owner can take it.
package struct NewStoredCall: Sendable {
    /// What the client asks for it by: unguessable, made by the gateway.
    package var handle: String
    /// The label of its owner in the configuration.
    package var upstream: String
    /// The name that clients know.
    package var tool: String
    /// The owner's own name of the tool.
    package var target: String
    /// The JSON text of `params.arguments`; nil when the client sent none.
    package var arguments: [UInt8]?
    /// The JSON object of `_meta` that travels with the call; nil when nothing does.
    package var meta: [UInt8]?
    package var caller: String
    /// Tells two sendings of one call apart from two calls, for owners that understand it.
    package var idempotencyKey: String
    /// The configuration says that sending it twice does no harm.
    package var isIdempotent: Bool
    /// Higher goes first within its lane.
    package var priority: Int
    /// Digest of the tool's definition that the arguments were checked against.
    package var schemaDigest: String?
    package var requestID: RequestID
    /// Wall milliseconds.
    package var createdAt: Int64
    /// Wall milliseconds after which it is not sent any more; nil for never.
    package var expiresAt: Int64?
    /// When a call is known under this key already, that one counts and nothing is stored.
    package var ledgerKey: [UInt8]?

    package init(
        handle: String, upstream: String, tool: String, target: String, arguments: [UInt8]?, caller: String,
        idempotencyKey: String, requestID: RequestID, createdAt: Int64
    ) {
        self.handle = handle
        self.upstream = upstream
        self.tool = tool
        self.target = target
        self.arguments = arguments
        self.caller = caller
        self.idempotencyKey = idempotencyKey
        self.requestID = requestID
        self.createdAt = createdAt
        isIdempotent = false
        priority = 0
    }
}

/// How a stored call is.
package enum StoredStatus: String, Sendable, CaseIterable {
    /// Waits.
    case queued
    /// Is being sent.
    case inFlight = "in_flight"
    case completed
    case failed
    case expired
    case cancelled
    /// Was sent, its answer was lost, and sending it again may do harm: a person decides.
    case unknown

    /// Nothing happens with it any more by itself.
    package var isOver: Bool { self != .queued && self != .inFlight }
}

/// What is known of a stored call.
package struct StoredCall: Sendable, Equatable {
    package var id: Int64
    package var handle: String
    package var status: StoredStatus
    package var upstream: String
    package var tool: String
    package var target: String
    package var caller: String
    package var idempotencyKey: String
    package var isIdempotent: Bool
    package var priority: Int
    package var schemaDigest: String?
    package var requestID: String
    /// How often it was sent, or was about to be.
    package var attempts: Int
    /// All times in wall milliseconds.
    package var createdAt: Int64
    package var updatedAt: Int64
    package var availableAt: Int64
    package var expiresAt: Int64?
    package var lastError: String?
    /// It is in the queue of another gateway on the same storage; such an id is negative.
    package var isElsewhere: Bool { id < 0 }

    package init(
        id: Int64, handle: String, status: StoredStatus, upstream: String, tool: String, target: String,
        caller: String, idempotencyKey: String, isIdempotent: Bool, priority: Int, schemaDigest: String?,
        requestID: String, attempts: Int, createdAt: Int64, updatedAt: Int64, availableAt: Int64, expiresAt: Int64?,
        lastError: String?
    ) {
        self.id = id
        self.handle = handle
        self.status = status
        self.upstream = upstream
        self.tool = tool
        self.target = target
        self.caller = caller
        self.idempotencyKey = idempotencyKey
        self.isIdempotent = isIdempotent
        self.priority = priority
        self.schemaDigest = schemaDigest
        self.requestID = requestID
        self.attempts = attempts
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.availableAt = availableAt
        self.expiresAt = expiresAt
        self.lastError = lastError
    }
}

/// What a client may know of a stored call, with its result once there is one.
package struct StoredOutcome: Sendable {
    package var call: StoredCall
    package var answer: StoredAnswer?

    package init(call: StoredCall, answer: StoredAnswer?) {
        self.call = call
        self.answer = answer
    }
}

/// The answer of an owner as it was written.
package enum StoredAnswer: Sendable, Equatable {
    /// The JSON object `result`.
    case result([UInt8])
    /// The JSON object `error`.
    case protocolError([UInt8])
}

/// A stored call with what has to be sent.
package struct LeasedCall: Sendable {
    package var call: StoredCall
    package var arguments: [UInt8]?
    package var meta: [UInt8]?

    package init(call: StoredCall, arguments: [UInt8]?, meta: [UInt8]?) {
        self.call = call
        self.arguments = arguments
        self.meta = meta
    }
}

/// How an attempt to send a stored call ended.
package enum Settlement: Sendable {
    /// Its owner answered, be it with `isError`.
    case completed(StoredAnswer)
    /// It will not be tried any more.
    case failed(words: String, answer: StoredAnswer? = nil)
    /// It was not carried out, or may be carried out again: it waits until `availableAt`, in wall milliseconds.
    case again(availableAt: Int64, words: String)
    /// It was not even sent: as `again`, and the attempt does not count.
    case notSent(availableAt: Int64, words: String)
    /// It was sent and its answer was lost.
    case unknown(words: String)
    case cancelled(words: String)
}

/// Why a call is not stored. Nothing is left of it.
package enum QueueRefusal: Error, Sendable, Equatable {
    /// A bound is reached: items, bytes, or items of this caller. `detail` names it.
    case full(detail: String)
    /// The disk is full, or the database cannot be written.
    case unwritable(detail: String)
    /// The gateway is stopping.
    case closing
}

/// Whether there is such a call cannot be seen now. It may be there, and whoever asks again in a moment may get it.
package struct CannotLook: Error, Sendable, Equatable {
    package let words: String

    package init(words: String) { self.words = words }
}

/// What a call was stored as.
package struct Receipt: Sendable, Equatable {
    package var call: StoredCall
    /// False when it was known already under its ledger key.
    package var isNew: Bool

    package init(call: StoredCall, isNew: Bool) {
        self.call = call
        self.isNew = isNew
    }
}

/// How many stored calls there are.
package struct QueueCounts: Sendable, Equatable {
    /// By status; one that is missing stands for none.
    package var items: [StoredStatus: Int] = [:]
    /// Payloads of calls that may still be sent, and results that are kept.
    package var bytes: Int64 = 0
    /// Wall milliseconds at which the oldest that waits was stored.
    package var oldestWaiting: Int64?

    package init() {}

    package var waiting: Int { items[.queued, default: 0] + items[.inFlight, default: 0] }
}

/// What an order of an operator or a client did.
package enum QueueOrderOutcome: Sendable, Equatable {
    case done(StoredCall)
    /// The call is in a state in which that cannot be done; nothing was changed.
    case notPossible(StoredCall)
    /// There is no such call, or it is another caller's.
    case noSuchCall
}

/// Which stored calls to list: newest first.
package struct QueueFilter: Sendable {
    package var statuses: Set<StoredStatus> = []
    package var upstream: String?
    /// Only ids below this, to go on where a page ended.
    package var before: Int64?
    /// At most 1,000.
    package var limit = 100

    package init() {}
}

/// Calls that are kept until their owners can take them. Every method that changes something returns when that is
/// synced to disk, or has thrown; a group of them shares one sync.
///
/// A *lane* is the calls of one caller for one upstream: within a lane the order is priority, then age, and one is
/// sent at a time. A call that is `unknown` or over blocks nobody; one that waits for its next attempt blocks its lane.
package protocol CallQueue: Sendable {
    /// Keeps a call. Nothing of it is kept when this throws.
    func accept(_ call: NewStoredCall) async throws(QueueRefusal) -> Receipt

    /// Takes the first call of each lane of this upstream whose time has come, at most `limit`, marks them `in_flight`
    /// and counts the attempt. Marked and synced before it returns: what is sent is known to have been sent.
    /// Calls that are over their time become `expired` instead. Empty when the database cannot be written.
    func lease(upstream: String, limit: Int, now: Int64) async -> [LeasedCall]

    /// The end of an attempt. False when that could not be written: the call is still `in_flight`, and what is said
    /// here has to be said again.
    func settle(_ id: Int64, _ settlement: Settlement, now: Int64) async -> Bool

    /// A stored call by its handle, for its caller only; nil when there is none for sure.
    func find(handle: String, caller: String) async throws(CannotLook) -> StoredOutcome?
    /// By id, for operators.
    func find(id: Int64) async -> StoredOutcome?
    func list(_ filter: QueueFilter) async -> [StoredCall]

    /// Takes back a call that waits or is `unknown`. One that is being sent cannot be. Of one that is `unknown` and not
    /// idempotent `lastError` goes on saying that it may have been carried out.
    func cancel(id: Int64, words: String, now: Int64) async -> QueueOrderOutcome
    /// Has a call that is over, but was not completed, sent again. For operators.
    func retry(id: Int64, now: Int64) async -> QueueOrderOutcome
    /// Has every call for this upstream that waits for its next try become sendable now: what kept it away is over.
    /// Nothing changes when that cannot be written.
    func hurry(upstream: String, now: Int64) async
    /// Removes calls that are over, of these statuses, last changed before `before` (wall milliseconds).
    func purge(_ statuses: Set<StoredStatus>, before: Int64) async -> Int

    // From memory, never waits.

    /// Calls that wait or are being sent, by upstream.
    func waiting() -> [String: Int]
    /// The same for one lane.
    func waiting(upstream: String, caller: String) -> Int
    func counts() -> QueueCounts
    /// Wall milliseconds at which the next call for this upstream may be sent; nil when none waits.
    func nextAvailable(upstream: String) -> Int64?
    /// Called, on any thread, after calls for an upstream were stored or became sendable again.
    func whenStored(_ notice: @escaping @Sendable (_ upstream: String) -> Void)
}
