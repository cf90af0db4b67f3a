// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore

extension CallEngine {
    /// Larger answers are not kept.
    static let answerBytesMax = 1 << 20
    private static let roomAtOnce = 100

    // MARK: The ledger

    func begin(
        _ key: [UInt8], digest: [UInt8], expires: Int64, now: Int64
    ) throws(SQLiteFailure) -> LedgerFinding {
        if let row = try ledger.row(key) {
            if row.expiresAt > now { return finding(row, digest: digest) }
            index.countLedger(0, bytes: -row.answerBytes)
        } else {
            index.countLedger(1)
        }
        try ledger.put(key, digest: digest, status: "running", life: life, now: now, expires: expires)
        try makeLedgerRoom()
        return .new
    }

    /// A hundred at once, so that not every call of a full ledger has to look for one. When none can go it is not
    /// tried again soon: what is stored or being sent is bounded elsewhere.
    private func makeLedgerRoom() throws(SQLiteFailure) {
        guard index.ledgerKeys > settings.ledgerKeysMax, index.ledgerKeys >= ledgerTryAt else { return }
        let excess = index.ledgerKeys - settings.ledgerKeysMax
        let count = max(excess, min(Self.roomAtOnce, settings.ledgerKeysMax / 10))
        let gone = try ledger.removeAnswered(count, withLost: true)
        index.countLedger(-gone.keys, bytes: -gone.bytes)
        ledgerTryAt = gone.keys > 0 ? 0 : index.ledgerKeys + 10 * Self.roomAtOnce
    }

    private static let answersAtOnce = 16

    /// A tenth at once, so that this is seldom done.
    private func makeAnswerRoom() throws(SQLiteFailure) {
        guard index.ledgerBytes > settings.ledgerBytesMax else { return }
        while index.ledgerBytes > settings.ledgerBytesMax / 10 * 9 {
            let gone = try ledger.removeAnswered(Self.answersAtOnce, withLost: false)
            if gone.keys == 0 { return }
            index.countLedger(-gone.keys, bytes: -gone.bytes)
        }
    }

    private func finding(_ row: LedgerRows.Row, digest: [UInt8]) -> LedgerFinding {
        // A call that came into the ledger through the queue has no digest, and is not told apart by it.
        if !row.digest.isEmpty, row.digest != digest { return .differs }
        switch row.status {
        case "stored": return row.handle.map { .stored(handle: $0) } ?? .lost
        case "answered": return row.answer.map { .answered($0) } ?? .lost
        default: return row.life == life ? .running : .lost
        }
    }

    func end(_ key: [UInt8], _ answer: StoredAnswer?) throws(SQLiteFailure) {
        guard let row = try ledger.row(key), row.status == "running", row.life == life else { return }
        guard let answer else {
            try ledger.remove(key)
            index.countLedger(-1)
            return
        }
        if answer.bytes.count > Self.answerBytesMax {
            try ledger.lose(key)
        } else {
            try ledger.keep(answer, under: key)
            index.countLedger(0, bytes: Int64(answer.bytes.count))
            try makeAnswerRoom()
        }
    }

    // MARK: Calls that come to the queue with a key

    /// What becomes of a call whose key is known; nil when it is to be stored. A key under which something was carried
    /// out, or may have been, is never stored a second time: whoever asks the ledger again hears what came of it.
    func known(_ key: [UInt8], _ new: NewStoredCall) throws(SQLiteFailure) -> Acceptance? {
        guard let row = try ledger.row(key), row.expiresAt > new.createdAt else { return nil }
        switch row.status {
        case "stored":
            if let handle = row.handle, let stored = try rows.row(handle: handle) {
                return .success(Receipt(call: stored.call, isNew: false))
            }
            return .failure(.unwritable(detail: "the call was stored before, and what came of it is not kept any more"))
        case "answered":
            return .failure(
                .unwritable(detail: "the call was carried out meanwhile; send it again to get the same answer"))
        default:
            // Noted by this very call, which then could not be sent.
            if row.life == life { return nil }
            return .failure(
                .unwritable(
                    detail: "the gateway ended while the call was being sent; whether it was carried out is not known"))
        }
    }

    func noteStored(_ key: [UInt8], _ new: NewStoredCall) throws(SQLiteFailure) {
        // As long as its result can be asked for.
        let end = (new.expiresAt ?? new.createdAt) + settings.resultKeep.nanosecondsClamped / 1_000_000
        if let row = try ledger.row(key) {
            if row.expiresAt > new.createdAt {
                try ledger.markStored(key, handle: new.handle, expires: end)
                return
            }
            index.countLedger(0, bytes: -row.answerBytes)
        } else {
            index.countLedger(1)
        }
        try ledger.put(
            key, digest: [], status: "stored", life: life, handle: new.handle, now: new.createdAt, expires: end)
    }
}
