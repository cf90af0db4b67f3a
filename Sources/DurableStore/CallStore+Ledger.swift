// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

extension CallStore {
    package func begin(_ key: [UInt8], digest: [UInt8], expires: Int64, now: Int64) async -> LedgerFinding {
        await order(
            refused: { refusal -> LedgerFinding in
                switch refusal {
                case .unwritable(let words): .unwritable(detail: words)
                case .closing: .unwritable(detail: "the gateway is stopping")
                }
            },
            { (engine) throws(SQLiteFailure) in
                .keep(try engine.begin(key, digest: digest, expires: expires, now: now))
            })
    }

    /// What cannot be written now is written when the database can be again; until then the key finds `running`.
    package func end(_ key: [UInt8], _ answer: StoredAnswer?) async {
        let isWritten = await order(refused: { _ in false }) { (engine) throws(SQLiteFailure) in
            try engine.end(key, answer)
            return .keep(true)
        }
        if !isWritten { shared.inbox.withLock { $0.postpone(key, answer) } }
    }
}
