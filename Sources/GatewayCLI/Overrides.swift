// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about what operators have changed by hand.
struct Overrides: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overrides",
        abstract: "Shows and undoes what was changed by hand.",
        discussion: """
            Example: mcp-gateway overrides list

            They hold over reload and restart, until somebody undoes them or their time is over.
            Exit status: 0 done, 1 not possible or no gateway runs, 64 wrong usage.
            """,
        subcommands: [List.self, Undo.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows them, with who ordered them and until when they hold.",
            discussion: "Example: mcp-gateway overrides list")

        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("overrides") { client throws(StartError) in try client.overridesList() }
        }
    }

    struct Undo: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Undoes one kind of them, or all.",
            discussion: "Example: mcp-gateway overrides undo tool --subject erp__create_ticket")

        @Argument(
            help: "Which kind: rate-limit, circuit-breaker, tool, drain. Default: all.",
            completion: .list(ControlClient.overrideKinds))
        var what: String?

        @Option(help: "Only that of this upstream or tool.")
        var subject: String?

        @OptionGroup var options: OperatorOptions

        func validate() throws {
            if let what, !ControlClient.overrideKinds.contains(what) {
                let known = ControlClient.overrideKinds.joined(separator: ", ")
                throw ValidationError("there is no kind '\(what)'; there are \(known)")
            }
            if what == nil, subject != nil { throw ValidationError("--subject goes with a kind") }
        }

        func run() throws {
            try options.run("overrides") { client throws(StartError) in
                try client.overridesUndo(what, subject: subject)
            }
        }
    }
}
