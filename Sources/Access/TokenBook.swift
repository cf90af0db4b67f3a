// Licensed under the Apache License 2.0; see LICENSE.

internal import Synchronization

/// The tokens that are in force, in memory, with the file behind them.
///
/// Asking who somebody is takes about a microsecond and touches no file. Changes go to the file first, and are in force
/// here before the call returns. They block: up to two seconds for another process that changes the file too, and for
/// the disk; not for an event loop.
///
/// A damaged file lets nobody in: a book does not open over one, and one that is open keeps the tokens it had, so that
/// a slip of the pen neither opens the door nor locks everybody out. `trouble` says so until the file is mended. Only
/// the one whose files these are may open it: root becomes that user first.
package final class TokenBook: Sendable {
    private struct Shelf: Sendable {
        var tokens: [String: Token] = [:]
        var mark = TokenFile.Mark.missing
        var warning: String?
        var trouble: AccessError?
        /// Turns are drawn before a file is read; what was drawn later is newer, and is never replaced by an older one.
        var drawn: UInt64 = 0
        var installed: UInt64 = 0
    }

    let file: TokenFile
    private let shelf = Mutex(Shelf())

    /// Reads `keys/tokens` of a storage directory. Without that file there are no tokens; nothing is made.
    package convenience init(directory: String) throws(AccessError) {
        try self.init(file: TokenFile(directory: directory))
    }

    init(file: TokenFile) throws(AccessError) {
        self.file = file
        try reload()
    }

    /// Where the tokens are kept; for words to operators.
    package var path: String { file.path }

    /// What an operator should mend although the tokens are in force: the rights of the file.
    package var warning: String? { shelf.withLock { $0.warning } }

    /// Why the file as it is now was not taken, and the tokens from before are in force.
    package var trouble: AccessError? { shelf.withLock { $0.trouble } }

    /// Who shows this token; nil when it is none, not ours, revoked or expired.
    ///
    /// Takes the same time for a wrong secret of a token that there is and for one of none. Looks at nothing but texts
    /// of exactly the length of a secret, 58 bytes.
    ///
    /// - Parameter now: wall clock, milliseconds since 1970 UTC.
    package func visitor(bearer: [UInt8], now: Int64) -> Visitor? {
        guard let id = TokenSecret.id(in: bearer) else { return nil }
        let shown = SecretDigest(of: bearer)
        let found = shelf.withLock { $0.tokens }[id]
        let isRight = shown.matches(found?.digest ?? .nobody)
        guard let found, isRight, !found.hasExpired(at: now) else { return nil }
        return Visitor(name: found.name, roles: found.roles, tokenID: found.id)
    }

    /// Makes a token. Its secret is in the answer and nowhere else, ever.
    ///
    /// Takes the place of an expired one of the same name. When there are as many as there may be, the expired ones go.
    ///
    /// - Parameters:
    ///   - name: 1 to 64 of `A-Za-z0-9._@-` that are no id, no secret and not `anonymous`; of no other token in force.
    ///   - expiresAt: wall clock, milliseconds since 1970 UTC, like `now`; later than that.
    package func add(
        name: String, roles: Set<Role>, expiresAt: Int64?, now: Int64
    ) throws(AccessError) -> (token: Token, secret: String) {
        if let objection = TokenName.objection(to: name) { throw .refused(objection) }
        guard !roles.isEmpty else {
            let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw .refused("a token without a role opens nothing; give it at least one of \(known)")
        }
        guard now >= 0, expiresAt.map({ $0 > now }) ?? true else {
            throw .refused("the token would have expired already; choose a later time")
        }
        return try change { (list) throws(AccessError) in
            var all = list.tokens
            if all.contains(where: { $0.name == name && !$0.hasExpired(at: now) }) { throw .nameTaken(name) }
            list.remove { $0.name == name }
            if all.count >= TokenList.tokensMax { list.remove { $0.hasExpired(at: now) } }
            all = list.tokens
            guard all.count < TokenList.tokensMax else { throw .full(max: TokenList.tokensMax) }
            let taken = Set(all.map(\.id))
            var id = TokenSecret.makeID()
            // Of four thousand million, ten thousand are taken at most.
            while taken.contains(id) { id = TokenSecret.makeID() }
            let secret = TokenSecret.make(id: id)
            let token = Token(
                id: id, name: name, roles: roles, digest: SecretDigest(of: Array(secret.utf8)), createdAt: now,
                expiresAt: expiresAt)
            list.append(token)
            return (token, secret)
        }
    }

    /// Ends a token for good. When it returns, nobody is let in by it here any more.
    package func revoke(_ idOrName: String) throws(AccessError) -> Token {
        try change { (list) throws(AccessError) in
            // Bytes decide: to `==` the Kelvin sign is a K.
            let meant = list.tokens.first { token in
                token.id.utf8.elementsEqual(idOrName.utf8) || token.name.utf8.elementsEqual(idOrName.utf8)
            }
            guard let token = meant else { throw .unknown }
            list.remove { $0.id == token.id }
            return token
        }
    }

    /// Every token, the oldest first, also those that have expired.
    package func all() -> [Token] {
        shelf.withLock { $0.tokens }.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    /// Reads the file again. When that does not work, the tokens from before stay in force.
    package func reload() throws(AccessError) {
        let turn = draw()
        // Before reading: what changes from here on is seen the next time.
        let mark = file.mark()
        do {
            install(try file.read(), turn: turn)
        } catch {
            shelf.withLock { shelf in
                guard turn > shelf.installed else { return }
                shelf.installed = turn
                shelf.mark = mark
                shelf.trouble = error
            }
            throw error
        }
    }

    /// Reads the file again when it is another than before; one system call otherwise. Meant for every second, so that
    /// what a verb or a package has put there is taken up. Throws once for a file that is damaged, not every time.
    ///
    /// - Returns: whether it was read.
    @discardableResult
    package func refreshIfChanged() throws(AccessError) -> Bool {
        let mark = file.mark()
        guard shelf.withLock({ $0.mark }) != mark else { return false }
        try reload()
        return true
    }

    private func change<Result>(
        _ body: (inout TokenList) throws(AccessError) -> Result
    ) throws(AccessError) -> Result {
        try file.change(body) { contents in install(contents, turn: draw()) }
    }

    func draw() -> UInt64 {
        shelf.withLock { shelf in
            shelf.drawn += 1
            return shelf.drawn
        }
    }

    func install(_ contents: TokenFile.Contents, turn: UInt64) {
        let tokens = Dictionary(contents.list.tokens.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        shelf.withLock { shelf in
            guard turn > shelf.installed else { return }
            shelf.installed = turn
            (shelf.tokens, shelf.mark, shelf.warning) = (tokens, contents.mark, contents.warning)
            shelf.trouble = nil
        }
    }
}
