// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// What would become of a call.
struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what would become of a call: verdict, owner, checks.",
        discussion: """
            Example: mcp-gateway explain tools/call units__convert

            The running gateway answers, from the tables that decide real calls.
            Exit status: 0 the call would be sent, 1 it would not, or no gateway runs.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print one JSON object.")
    var json = false

    @Argument(help: "What is done; tools/call.")
    var method: String

    @Argument(help: "The tool's name, as clients see it.")
    var name: String

    func validate() throws {
        guard method == "tools/call" else { throw ValidationError("only tools/call can be explained") }
    }

    func run() async throws {
        HelperProcess.begin("explain")
        let settings = try configuration.load(strict: false)
        do throws(StartError) {
            let answer = try await ControlClient(socketPath: settings.admin.controlSocket).explain(name)
            Terminal.say(json ? answer.json : answer.screen)
            if !answer.isAllowed { throw StartError("the call would be refused") }
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
            throw ExitCode(1)
        }
    }
}
