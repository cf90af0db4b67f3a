// Licensed under the Apache License 2.0; see LICENSE.

/// A result that may be given again.
package struct KeptReply: Sendable, Equatable {
    /// The JSON object `result` as its owner wrote it.
    package var result: [UInt8]
    /// Wall milliseconds at which its owner gave it.
    package var keptAt: Int64

    package init(result: [UInt8], keptAt: Int64) {
        self.result = result
        self.keptAt = keptAt
    }
}

/// Results of read-only calls, in memory and on disk. Written behind: what is kept is on disk within about a second.
package protocol ReplyCache: Sendable {
    /// Looks in memory, then on disk. The key says everything the result depends on: caller, owner, target, arguments.
    func lookup(_ key: [UInt8]) async -> KeptReply?
    /// Keeps a result under a key; the oldest make room. `tool` is the name that clients know.
    func keep(_ key: [UInt8], tool: String, _ reply: KeptReply)
    /// Forgets all, or those of one tool. Returns how many and how large they were.
    func clear(tool: String?) async -> (entries: Int, bytes: Int64)
    /// What it holds now.
    func size() -> (entries: Int, bytes: Int64)
}

/// What owners were known to have, kept for a start without network.
package protocol OffersArchive: Sendable {
    /// The last whole word of an owner; nil when there is none or it cannot be read.
    func offers(of owner: String) -> (offers: Offers, keptAt: Int64)?
    /// Written behind.
    func keep(_ offers: Offers, of owner: String, at wallMilliseconds: Int64)
}
