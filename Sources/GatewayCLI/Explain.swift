// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// What would become of a call.
struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what would become of a call: verdict, owner, limits, breaker, queue.",
        discussion: """
            Example: mcp-gateway explain tools/call erp__create_ticket --as anna

            The running gateway answers, from the tables that decide real calls.
            Exit status: 0 the call would be taken, 1 it would not, or no gateway runs.
            """)

    @OptionGroup var options: OperatorOptions

    @Option(name: .customLong("as"), help: "The caller whose limit would count, by the name of the token.")
    var caller: String?

    @Argument(help: "What is done; tools/call.", completion: .list(["tools/call"]))
    var method: String

    @Argument(help: "The tool's name, as clients see it.")
    var name: String

    func validate() throws {
        guard method == "tools/call" else { throw ValidationError("only tools/call can be explained") }
    }

    func run() throws {
        try options.run("explain") { client throws(StartError) in try client.explain(name, caller: caller) }
    }
}
