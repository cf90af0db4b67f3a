// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
internal import GatewayCore

/// What is wrong with the tokens; no line where all is well.
struct TokenHealth: StatusSource {
    let book: TokenBook
    /// Whether callers have to show one.
    let areNeeded: @Sendable () -> Bool
    let time: any TimeSource

    func components() -> [ComponentStatus] {
        guard let words else { return [] }
        return [
            ComponentStatus(name: "tokens", status: .degraded, detail: words, checkedAt: time.wallMilliseconds())
        ]
    }

    /// One sentence, or nil.
    var words: String? {
        if let trouble = book.trouble { return "the tokens are as they were: \(trouble.words)" }
        let now = time.wallMilliseconds()
        let isAnybodyThere = book.all().contains { $0.roles.contains(.call) && !$0.hasExpired(at: now) }
        if areNeeded(), !isAnybodyThere {
            return "nobody can call: there is no token of the role call; make one with mcp-gateway token new NAME "
                + "--role call"
        }
        return book.warning
    }
}
