// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Synchronization

/// What owners were known to have, so that a gateway that starts without network knows their tools. Read at the start,
/// written behind by the store's writer.
package final class OffersShelf: OffersArchive, Sendable {
    private let loaded: Mutex<[String: (bytes: [UInt8], keptAt: Int64)]>
    private let writer: ReplyShelf.Writer

    init(_ connection: Connection, writer: @escaping ReplyShelf.Writer) throws(SQLiteFailure) {
        self.writer = writer
        var loaded: [String: (bytes: [UInt8], keptAt: Int64)] = [:]
        let rows = try connection.prepare("SELECT owner, offers, kept_at FROM known_offers")
        while try rows.step() {
            guard let owner = rows.text(0) else { continue }
            loaded[owner] = (rows.bytes(1), rows.text(2).flatMap { WallTime.milliseconds($0) } ?? 0)
        }
        self.loaded = Mutex(loaded)
    }

    package func offers(of owner: String) -> (offers: Offers, keptAt: Int64)? {
        guard let (bytes, keptAt) = loaded.withLock({ $0.removeValue(forKey: owner) }),
            let offers = Offers(archived: bytes)
        else { return nil }
        return (offers, keptAt)
    }

    package func keep(_ offers: Offers, of owner: String, at wallMilliseconds: Int64) {
        let bytes = offers.archived
        _ = writer { connection in
            let statement = try? connection?.prepare("INSERT OR REPLACE INTO known_offers VALUES (?, ?, ?)")
            statement?.bind(1, owner)
            statement?.bind(2, bytes: bytes)
            statement?.bind(3, WallTime.text(milliseconds: wallMilliseconds))
            // The owner tells it again at the next start.
            try? statement?.run()
        }
    }
}
