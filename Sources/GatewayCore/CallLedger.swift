// Licensed under the Apache License 2.0; see LICENSE.

/// What is known of a call under its key.
package enum LedgerFinding: Sendable, Equatable {
    /// Nothing was: it is noted now, synced, and the call may be sent.
    case new
    /// It is being carried out in this life of the gateway.
    case running
    /// It was being carried out when an earlier life of the gateway ended: whether it was done is not known.
    case lost
    /// It was carried out, and this is what came of it.
    case answered(StoredAnswer)
    /// It was stored, under this handle.
    case stored(handle: String)
    /// It is noted with other arguments: the key was used for two different calls.
    case differs
    /// The ledger cannot be written now; nothing was noted.
    case unwritable(detail: String)
}

/// Calls that their clients may send twice, by a key that tells the second sending apart from a second call. Keys are
/// bound to their caller by whoever makes them.
package protocol CallLedger: Sendable {
    /// Looks the key up, and notes it when it is new. Returns when that is synced to disk.
    ///
    /// - Parameters:
    ///   - digest: of what is called with which arguments.
    ///   - expires: wall milliseconds after which the key may be forgotten.
    func begin(_ key: [UInt8], digest: [UInt8], expires: Int64, now: Int64) async -> LedgerFinding

    /// The end of a call that `begin` found new. With nil the key is forgotten: the call was not carried out.
    /// An answer above 1 MiB is not kept; its key then finds `lost`.
    func end(_ key: [UInt8], _ answer: StoredAnswer?) async
}
