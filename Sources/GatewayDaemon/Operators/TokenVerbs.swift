// Licensed under the Apache License 2.0; see LICENSE.

internal import Access
internal import AdminPlane
internal import DurableStore
internal import GatewayCore
internal import Glibc
internal import MCPWire
internal import Telemetry

/// What the command line does with tokens: through the gateway while one runs, which then knows of it at once; else on
/// the file itself, so that the first token can be made before the first start.
package struct TokenVerbs: Sendable {
    private let directory: String
    private let client: ControlClient
    private let time: any TimeSource

    package init(settings: GatewaySettings) {
        self.init(
            directory: settings.storage.directory, client: ControlClient(socketPath: settings.admin.controlSocket),
            time: SystemTime())
    }

    init(directory: String, client: ControlClient, time: any TimeSource) {
        self.directory = directory
        self.client = client
        self.time = time
    }

    /// What a token can open.
    package static let roles = Role.allCases.map(\.rawValue)

    /// Makes a token. Its secret is the last line of the screen and nowhere else, ever.
    ///
    /// - Parameters:
    ///   - roles: some of `roles`.
    ///   - lasts: how long it is good, such as `30d`; nil until it is revoked.
    package func new(name: String, roles: [String], lasts: String?) throws(StartError) -> OperatorAnswer {
        let json: JSONValue
        if try client.isRunning() {
            let body = ControlClient.lasting(
                lasts, [("name", .string(name)), ("roles", .array(roles.map { .string($0) }))])
            json = try client.order("POST", "/admin/tokens", body).json
        } else {
            let now = time.wallMilliseconds()
            let expires = lasts.flatMap(SettingsUnits.duration).map { now + Int64($0.milliseconds) }
            let (token, secret) = try onFile { (book) throws(AccessError) in
                try book.add(
                    name: name, roles: Set(roles.compactMap { Role(rawValue: $0) }), expiresAt: expires, now: now)
            }
            json = .object([("secret", .string(secret)), ("token", TokenFacts.json(token, now: now))])
        }
        return OperatorAnswer(json: json.text, lines: TokenScreen.made(json))
    }

    package func list() throws(StartError) -> OperatorAnswer {
        let json: JSONValue
        if try client.isRunning() {
            json = try client.order("GET", "/admin/tokens").json
        } else {
            let now = time.wallMilliseconds()
            // Whoever only looks makes nothing.
            let isThere = unsafe access(directory, F_OK) == 0 || errno != ENOENT
            let all = try isThere ? onFile { book in book.all() } : []
            json = .object([("tokens", .array(all.map { TokenFacts.json($0, now: now) }))])
        }
        return OperatorAnswer(json: json.text, lines: TokenScreen.list(json))
    }

    package func revoke(_ idOrName: String) throws(StartError) -> OperatorAnswer {
        if try client.isRunning() {
            return try client.said("DELETE", "/admin/tokens/" + ControlClient.escaped(idOrName))
        }
        let token = try onFile { (book) throws(AccessError) in try book.revoke(idOrName) }
        return OperatorAnswer(
            json: JSONValue.object([("token", TokenFacts.json(token, now: time.wallMilliseconds()))]).text,
            screen: "token \(token.id) of \(token.name) is revoked and opens nothing any more")
    }

    // MARK: Without a gateway

    /// As the user whose file it is: one that root leaves behind is one that the service cannot read.
    private func onFile<Value>(_ body: (TokenBook) throws(AccessError) -> Value) throws(StartError) -> Value {
        do throws(StoreError) {
            _ = try StorageOwner.become(of: directory)
            try StorageOwner.makeDirectory(directory)
        } catch { throw StartError(error.text) }
        do throws(AccessError) {
            return try body(try TokenBook(directory: directory))
        } catch { throw StartError(error.words) }
    }
}

/// Tokens as a person at a terminal reads them, and as the gateway's JSON has them.
enum TokenScreen {
    /// The secret stands alone on the last line, for whoever cuts it off there.
    static func made(_ answer: JSONValue) -> [ScreenLine] {
        let token = answer["token"]
        let until = TimeText.toMinute(token?["expires_at"])
        return [
            ScreenLine(
                "token \(LogText.escaped(token?["id"].shown ?? "")) of \(LogText.escaped(token?["name"].shown ?? "")) "
                    + "made: \(roles(token)), good until " + (until.isEmpty ? "it is revoked" : until + " UTC")),
            ScreenLine("Its secret is shown this once; only a digest of it is kept. Put it away now:"),
            ScreenLine(LogText.escaped(answer["secret"].shown)),
        ]
    }

    static func list(_ answer: JSONValue) -> [ScreenLine] {
        let all = answer["tokens"]?.arrayValue ?? []
        guard !all.isEmpty else { return [ScreenLine("there are no tokens; mcp-gateway token new makes one")] }
        var table = ScreenTable(["ID", "NAME", "ROLES", "CREATED (UTC)", "GOOD UNTIL (UTC)"])
        for one in all {
            let isOver = one["expired"]?.boolValue == true
            let until = TimeText.toMinute(one["expires_at"])
            table.add(
                [
                    one["id"].shown, one["name"].shown, roles(one), TimeText.toMinute(one["created_at"]),
                    isOver ? until + ", expired" : until.isEmpty ? "no end" : until,
                ], inks: isOver ? [4: .doubtful] : [:])
        }
        return table.lines
    }

    private static func roles(_ token: JSONValue?) -> String {
        (token?["roles"]?.arrayValue ?? []).map { LogText.escaped(Optional($0).shown) }.joined(separator: ", ")
    }
}
