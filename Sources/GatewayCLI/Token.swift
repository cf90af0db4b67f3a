// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about who may use the gateway.
struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Makes, lists and revokes the tokens that callers and operators show.",
        discussion: """
            Example: mcp-gateway token new anna --role call --for 30d

            Through the running gateway; while none runs, on the file in the storage directory.
            Exit status: 0 done, 1 not possible, 64 wrong usage.
            """,
        subcommands: [New.self, List.self, Revoke.self])

    /// What every one of them takes.
    struct Options: ParsableArguments {
        @OptionGroup var configuration: ConfigurationOption

        @Flag(help: "Print one JSON object.")
        var json = false

        func run(_ body: (TokenVerbs) throws(StartError) -> OperatorAnswer) throws {
            HelperProcess.begin("token")
            let verbs = TokenVerbs(settings: try configuration.settingsForOperators())
            try OperatorVerb.run(json: json) { () throws(StartError) in try body(verbs) }
        }
    }

    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a token. Its secret is the last line, and is shown this once.",
            discussion: "Example: mcp-gateway token new anna --role call --role observe --for 30d")

        @Argument(help: "Whose it is: 1 to 64 of A-Z a-z 0-9 . _ @ -. Calls carry this name in logs.")
        var name: String

        @Option(
            name: .customLong("role"),
            help: "What it opens: call (tools), observe (health and metrics), admin (orders too). Once for each.",
            completion: .list(TokenVerbs.roles))
        var roles: [String] = []

        @Option(
            name: .customLong("for"),
            help: "How long it is good, such as 24h or 30d. Default: until it is revoked.")
        var lasts: String?

        @OptionGroup var options: Options

        func validate() throws {
            let known = TokenVerbs.roles.joined(separator: ", ")
            guard !roles.isEmpty else { throw ValidationError("a token needs at least one --role of \(known)") }
            if let wrong = roles.first(where: { !TokenVerbs.roles.contains($0) }) {
                throw ValidationError("there is no role '\(wrong)'; there are \(known)")
            }
            if let lasts, OrderWords.lasting(lasts) == nil {
                throw ValidationError("--for takes a time such as 24h or 30d, not '\(lasts)'")
            }
        }

        func run() throws {
            try options.run { verbs throws(StartError) in
                try verbs.new(name: name, roles: roles, lasts: lasts.flatMap(OrderWords.lasting))
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists all tokens, without their secrets, which nobody has.",
            discussion: "Example: mcp-gateway token list")

        @OptionGroup var options: Options

        func run() throws {
            try options.run { verbs throws(StartError) in try verbs.list() }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a token: it opens nothing any more.",
            discussion: "Example: mcp-gateway token revoke anna")

        @Argument(help: "Its id or its name.")
        var token: String

        @OptionGroup var options: Options

        func validate() throws {
            if token.isEmpty { throw ValidationError("the id or the name of a token is wanted") }
        }

        func run() throws {
            try options.run { verbs throws(StartError) in try verbs.revoke(token) }
        }
    }
}
