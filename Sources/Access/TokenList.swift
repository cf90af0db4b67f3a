// Licensed under the Apache License 2.0; see LICENSE.

/// What a token file says, line by line. Pure: bytes in, bytes out. Comments and the order of the lines stay as they
/// are when something is changed.
///
/// A line is `id name roles created expires digest` with spaces between; roles are joined by commas, times are
/// milliseconds since 1970 UTC, `-` stands for a token that never expires. Lines that are empty or begin with `#` are
/// comments. Nothing else is taken: one line that is no token, and there is no list.
struct TokenList: Sendable {
    static let tokensMax = 10_000
    static let bytesMax = 2 << 20

    private enum Line: Sendable {
        case token(Token)
        case comment([UInt8])
    }

    /// Why a line is no token.
    struct Objection: Error, Equatable {
        let line: Int
        let detail: String
    }

    /// Of a file that is new.
    private static let heading = """
        # Who may use this gateway: id, name, roles, created, expires, SHA-256 of the token's whole text.
        # Times are milliseconds since 1970 UTC. Change it with `mcp-gateway token`.
        """

    private var lines: [Line]

    /// Of a file that does not exist yet.
    init() { lines = Self.heading.utf8.split(separator: Self.newline).map { .comment(Array($0)) } }

    init(bytes: [UInt8]) throws(Objection) {
        lines = []
        var ids: Set<String> = []
        var names: Set<String> = []
        var pieces = bytes.split(separator: Self.newline, omittingEmptySubsequences: false)
        if pieces.last?.isEmpty == true { pieces.removeLast() }
        for (place, piece) in pieces.enumerated() {
            let number = place + 1
            guard let first = piece.first, first != UInt8(ascii: "#") else {
                lines.append(.comment(Array(piece)))
                continue
            }
            let token: Token
            do { token = try Self.token(piece) } catch { throw Objection(line: number, detail: error.words) }
            guard ids.insert(token.id).inserted else {
                throw Objection(line: number, detail: "its id stands in an earlier line too")
            }
            guard names.insert(token.name).inserted else {
                throw Objection(line: number, detail: "its name stands in an earlier line too")
            }
            guard ids.count <= Self.tokensMax else {
                throw Objection(line: number, detail: "there may be \(Self.tokensMax) tokens")
            }
            lines.append(.token(token))
        }
    }

    var bytes: [UInt8] {
        var out: [UInt8] = []
        for line in lines {
            switch line {
            case .comment(let text): out += text
            case .token(let token): Self.write(token, to: &out)
            }
            out.append(Self.newline)
        }
        return out
    }

    var tokens: [Token] {
        lines.compactMap { line in
            switch line {
            case .token(let token): token
            case .comment: nil
            }
        }
    }

    mutating func append(_ token: Token) { lines.append(.token(token)) }

    mutating func remove(where isMeant: (Token) -> Bool) {
        lines.removeAll { line in
            switch line {
            case .token(let token): isMeant(token)
            case .comment: false
            }
        }
    }

    private static let newline = UInt8(ascii: "\n")
    private static let space = UInt8(ascii: " ")

    private struct Words: Error {
        let words: String
        init(_ words: String) { self.words = words }
    }

    private static func token(_ line: ArraySlice<UInt8>) throws(Words) -> Token {
        let fields = line.split(separator: space)
        guard fields.count == 6 else {
            throw Words("it is not the six words id, name, roles, created, expires and digest")
        }
        guard TokenName.isID(fields[0]) else { throw Words("the id has not 8 lower-case hexadecimal digits") }
        let name = String(decoding: fields[1], as: UTF8.self)
        if let objection = TokenName.objection(to: name) { throw Words(objection) }
        guard let roles = roles(fields[2]) else {
            throw Words("the roles are not some of \(Role.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        guard let created = milliseconds(fields[3]) else { throw Words("the time of its creation is no number") }
        var expires: Int64?
        if !fields[4].elementsEqual([UInt8(ascii: "-")]) {
            guard let time = milliseconds(fields[4]) else {
                throw Words("the time of its end is neither a number nor `-`")
            }
            expires = time
        }
        guard let digest = SecretDigest(hex: fields[5]) else {
            throw Words("the digest has not 64 lower-case hexadecimal digits")
        }
        return Token(
            id: String(decoding: fields[0], as: UTF8.self), name: name, roles: roles, digest: digest,
            createdAt: created, expiresAt: expires)
    }

    /// Each role once; nil for anything else.
    private static func roles(_ field: ArraySlice<UInt8>) -> Set<Role>? {
        var found: Set<Role> = []
        for word in field.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            guard let role = Role(rawValue: String(decoding: word, as: UTF8.self)), found.insert(role).inserted else {
                return nil
            }
        }
        return found
    }

    private static func milliseconds(_ field: ArraySlice<UInt8>) -> Int64? {
        guard field.allSatisfy(TokenName.isDigit) else { return nil }
        return Int64(String(decoding: field, as: UTF8.self))
    }

    private static func write(_ token: Token, to out: inout [UInt8]) {
        let roles = Role.allCases.filter(token.roles.contains).map(\.rawValue).joined(separator: ",")
        let expires = token.expiresAt.map { String($0) } ?? "-"
        out += Array("\(token.id) \(token.name) \(roles) \(token.createdAt) \(expires) ".utf8)
        token.digest.writeHex(to: &out)
    }
}
